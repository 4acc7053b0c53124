"""The webhook of the sandbox."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests

from moderation.goeasy.sandbox import Sandbox
from moderation.goeasy.signing import verify
from tests.goeasy.sandbox_data import ACKNOWLEDGEMENT


@pytest.fixture
def receiver() -> Iterator[Any]:
    """A webhook server that records deliveries and answers with `receiver.status` and `receiver.answer`."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            server.seen.append((body, self.headers["x-goeasy-signature"]))  # type: ignore[attr-defined]
            answer: bytes = server.answer  # type: ignore[attr-defined]
            self.send_response(server.status)  # type: ignore[attr-defined]
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.seen, server.answer, server.status = [], ACKNOWLEDGEMENT, 200  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("status", "answer"), [(200, b"thanks"), (500, ACKNOWLEDGEMENT)])
def test_the_webhook_is_signed_and_turned_off_after_three_failures(
    tmp_path: Path, receiver: Any, status: int, answer: bytes
) -> None:
    def wait_for(count: int) -> None:
        deadline = time.monotonic() + 10
        while len(receiver.seen) < count:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.2)
        assert len(receiver.seen) == count

    address = f"http://127.0.0.1:{receiver.server_address[1]}/hook"
    with Sandbox(data=tmp_path / "s.sqlite3", secret_key="secret", webhook_url=address) as sandbox:

        def send() -> None:
            body = {"senderId": "a", "to": {"type": "group", "id": "g"}, "type": "text", "payload": {"text": "你好"}}
            requests.post(f"{sandbox.url}/v2/im/message", json={"appkey": sandbox.appkey, **body}, timeout=5)

        send()
        wait_for(1)
        body, signature = receiver.seen[0]
        (content,) = parse_qs(body)["content"]
        assert verify(content, signature, ["secret"])
        assert not verify(content, signature, ["another"])
        assert json.loads(content)[0]["payload"] == {"text": "你好"}
        receiver.status, receiver.answer = status, answer
        send()
        wait_for(4)
        assert receiver.seen[1] == receiver.seen[2] == receiver.seen[3]
        receiver.status, receiver.answer = 200, ACKNOWLEDGEMENT
        send()
        wait_for(4)
        requests.post(f"{sandbox.url}/sandbox/webhook", json={"on": True}, timeout=5)
        send()
        wait_for(5)


def test_a_lone_surrogate_does_not_stop_the_webhook(tmp_path: Path, receiver: Any) -> None:
    address = f"http://127.0.0.1:{receiver.server_address[1]}/hook"
    with Sandbox(data=tmp_path / "s.sqlite3", webhook_url=address) as sandbox:
        for payload in ("\ud800", "你好"):
            body = {"senderId": "a", "to": {"type": "group", "id": "g"}, "type": "text", "payload": payload}
            requests.post(f"{sandbox.url}/v2/im/message", json={"appkey": sandbox.appkey, **body}, timeout=5)
    assert len(receiver.seen) == 2  # closing delivers what is queued
