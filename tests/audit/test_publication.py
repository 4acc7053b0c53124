"""Publication of checkpoints: to a file, to a log collector and to a URL."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from moderation.audit import verifier
from moderation.audit.ledger import checkpoints
from moderation.audit.models import AuditCheckpoint

from .signed_logs import write

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("published")]


def test_a_checkpoint_is_written_to_the_file_whole_and_for_everybody(published: Path) -> None:
    write(2)
    note = checkpoints.take().note
    checkpoints.publish(note)
    assert published.read_text(encoding="utf-8") == note
    assert published.stat().st_mode & 0o777 == 0o644
    assert list(published.parent.iterdir()) == [published]


def test_a_checkpoint_is_one_line_for_a_log_collector(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.AUDIT_CHECKPOINT_STDOUT = True
    write(2)
    checkpoints.publish(checkpoints.take().note)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"audit_checkpoint": AuditCheckpoint.objects.get().note}


@contextmanager
def witness(status: int) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A server that accepts POST requests: its URL and the received requests."""
    taken: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append((self.headers["Content-Type"], self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/checkpoints?token=secret-token", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_checkpoint_is_posted(settings: Any) -> None:
    write(2)
    note = checkpoints.take().note
    with witness(204) as (settings.AUDIT_CHECKPOINT_URL, taken):
        checkpoints.publish(note)
    assert taken == [("text/plain; charset=utf-8", note.encode())]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_refused_publication_is_reported_without_the_address(settings: Any, published: Path, status: int) -> None:
    write(2)
    note = checkpoints.take().note
    with witness(status) as (settings.AUDIT_CHECKPOINT_URL, taken):
        with pytest.raises(checkpoints.NotPublished, match=f"^AUDIT_CHECKPOINT_URL: it answered {status}$"):
            checkpoints.publish(note)
        assert len(taken) == 1
    # It was published to the other places.
    assert published.read_text(encoding="utf-8") == note


def test_an_unreachable_witness_is_reported_without_the_address(settings: Any) -> None:
    settings.AUDIT_CHECKPOINT_URL = "http://127.0.0.1:9/?token=secret-token"
    write(2)
    with pytest.raises(checkpoints.NotPublished, match="^AUDIT_CHECKPOINT_URL: ConnectionError$"):
        checkpoints.publish(checkpoints.take().note)


def test_an_unwritable_checkpoint_file_is_reported(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write(2)
    note = checkpoints.take().note
    settings.AUDIT_CHECKPOINT_FILE = str(tmp_path / "file" / "checkpoint")
    with pytest.raises(checkpoints.NotPublished, match="file/checkpoint: "):
        checkpoints.publish(note)


def test_an_unpublished_checkpoint_is_published_in_a_later_round(
    settings: Any, published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoints.sign_and_publish("") == ""
    settings.AUDIT_CHECKPOINT_URL = "http://127.0.0.1:9/?token=secret-token"
    write(2)
    left = checkpoints.sign_and_publish("")
    assert verifier.Checkpoint.read(left).size == 2
    assert "was not published: AUDIT_CHECKPOINT_URL: ConnectionError; trying again" in caplog.text
    assert "secret-token" not in caplog.text
    write(1)
    with witness(200) as (settings.AUDIT_CHECKPOINT_URL, taken):
        assert checkpoints.sign_and_publish(left) == ""
        assert checkpoints.sign_and_publish("") == ""
    assert [body.decode() for _, body in taken] == [left]
    assert published.read_text(encoding="utf-8") == left
