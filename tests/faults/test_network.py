"""Network failures during a recall: each ends in the right state, and the key is in no log."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from moderation.audit.models import AuditEntry
from moderation.outbox import retries
from moderation.outbox.sender import send_due
from recall.models import Recall
from tests.faults.conftest import Life
from tests.goeasy.raw_server import OK, Server, http, reset

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "BC-canary0123456789"


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.listener.close()


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    """Another host, which must never be contacted."""
    running = Server()
    yield running
    running.listener.close()


@pytest.fixture
def recall(live: Callable[..., Life], server: Server, moderator: Any, reason: Any, settings: Any) -> Recall:
    """A recall of one call, of an application whose key is KEY."""
    life = live(1)
    settings.GOEASY_APPKEY = KEY
    recall = life.request(moderator, reason)
    server.requests.clear()
    settings.GOEASY_REST_HOST = server.url
    settings.GOEASY_READ_TIMEOUT = 0.6
    settings.GOEASY_CONNECT_TIMEOUT = 0.6
    return recall


def late(connection: socket.socket, request: bytes) -> bytes:
    """Answer after the read time-out."""
    connection.settimeout(3)
    # Until the client closes the connection.
    with contextlib.suppress(OSError):
        connection.recv(1)
    return http(OK)


def flood(connection: socket.socket, request: bytes) -> None:
    """Send ten megabytes of HTML."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 10000000\r\n\r\n")
    for _part in range(1_000):
        connection.sendall(b"<p>busy</p>" + b" " * 9_989)


HALF = http(OK)[:-9]
GARBAGE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + b"\x00\xff" * 40 + b"\r\n0\r\n\r\n"
# What the server does, and the `problem` of the attempt.
WITHOUT_ANSWER: dict[str, tuple[Callable[[Server, Server], object], str]] = {
    "reset after the request": (lambda server, _other: setattr(server, "handler", lambda c, r: reset(c)), "connection"),
    "closed after the request": (lambda server, _other: setattr(server, "handler", lambda c, r: None), "connection"),
    "half an answer": (lambda server, _other: server.closes_after(HALF), "broken_answer"),
    "an answer after the time-out": (lambda server, _other: setattr(server, "handler", late), "read_timeout"),
    "10 MB of HTML": (lambda server, _other: setattr(server, "handler", flood), "oversize"),
    "a redirect to another host": (
        lambda server, other: server.answers_with(http(b"", "307 Temporary Redirect", f"Location: {other.url}/v2/im")),
        "",
    ),
    "chunked garbage": (lambda server, _other: server.answers_with(GARBAGE), ""),
}


@pytest.mark.parametrize("fault", WITHOUT_ANSWER)
def test_a_call_without_an_answer_is_unknown_and_not_sent_again(
    recall: Recall, server: Server, elsewhere: Server, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    arrange, problem = WITHOUT_ANSWER[fault]
    arrange(server, elsewhere)
    with caplog.at_level(logging.DEBUG):
        send_due(recall.application)
    recall.refresh_from_db()
    (attempt,) = recall.batches.get().attempts.all()
    assert (recall.state, recall.batches.get().state, attempt.outcome) == ("finished", "unknown", "unknown")
    assert problem in attempt.problem
    assert len(server.requests) == 1, "sent exactly once"
    assert elsewhere.requests == []
    # A redirect is an answer, but an inconclusive one.
    entry = AuditEntry.objects.get(action__in=["recall.answered", "recall.unanswered"])
    assert entry.detail["outcome"] == "unknown"
    check_no_key(caplog, recall)
    # It is not sent again when the server works: history or a person has to decide.
    server.answers_with(http(OK))
    send_due(recall.application)
    assert len(server.requests) == 1


def test_a_call_that_never_left_is_retried_and_then_stops(
    recall: Recall, settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "MAX_ATTEMPTS", 3)
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        settings.GOEASY_REST_HOST = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with caplog.at_level(logging.DEBUG):
        send_due(recall.application)
    recall.refresh_from_db()
    assert (recall.state, recall.stop_reason, recall.batches.get().state) == ("stopped", "unreachable", "pending")
    assert [attempt.outcome for attempt in recall.batches.get().attempts.all()] == ["not_sent"] * 3
    check_no_key(caplog, recall)


def check_no_key(caplog: pytest.LogCaptureFixture, recall: Recall) -> None:
    """Check that neither the logs of any library nor any row of the recall contain the key."""
    secret = KEY[3:]
    for record in caplog.records:
        assert secret not in record.getMessage()
        assert secret not in str(record.args)
        assert not record.exc_info or secret not in logging.Formatter().formatException(record.exc_info)
    for entry in AuditEntry.objects.filter(recall=recall.pk):
        assert secret not in str(vars(entry))
    for attempt in recall.batches.get().attempts.all():
        assert secret not in str(vars(attempt))
