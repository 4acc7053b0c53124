"""The server of the sandbox: control requests, malformed HTTP, concurrency, restart and command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.management import CommandError, call_command

from moderation.goeasy.sandbox import Sandbox
from moderation.goeasy.sandbox.seed import TOWN_SQUARE
from tests.goeasy.sandbox_data import CONVERSATION, GROUP, PAIR, ROOT, T, text


def test_messages_can_be_added_and_listed_over_http(sandbox: Sandbox, history: Callable[..., Any]) -> None:
    url = f"{sandbox.url}/sandbox/messages"
    for conversation in (CONVERSATION, GROUP):
        body = {"conversation": conversation, "messages": [text(T), {**text(T + 1), "recalled": True}]}
        assert requests.post(url, json=body, timeout=5).status_code == 200
    of_pair = requests.get(url, params={"user_a": "b", "user_b": "a"}, timeout=5).json()["content"]
    of_group = requests.get(url, params={"group": "g"}, timeout=5).json()["content"]
    assert of_pair == history().json()["content"]
    assert [(m["timestamp"], m.get("recalled"), m.get("groupId")) for m in of_group] == [
        (T + 1, True, "g"),
        (T, None, "g"),
    ]
    for wrong in ({"conversation": GROUP, "messages": [{"timestamp": str(T)}]}, {"messages": []}, []):
        assert requests.post(url, json=wrong, timeout=5).status_code == 400
    assert len(sandbox.messages(GROUP)) == 2


def test_the_sandbox_can_be_reset_and_seeded(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    url = f"{sandbox.url}/sandbox/reset"
    square = {"kind": "group", "group_id": TOWN_SQUARE}
    sandbox.add_messages(CONVERSATION, [text(T)])
    sandbox.set_faults([{"kind": "refuse", "code": 418}])
    recall()
    assert requests.post(url, json={"seed": "unknown"}, timeout=5).status_code == 400
    assert sandbox.messages(CONVERSATION)
    assert requests.post(url, json={"seed": "demo"}, timeout=5).status_code == 200
    assert (sandbox.messages(CONVERSATION), sandbox.calls()) == ([], [])
    assert len(sandbox.messages(square)) >= 1_200
    assert recall().json()["code"] == 200
    assert requests.post(url, timeout=5).status_code == 200
    assert sandbox.messages(square) == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_an_unknown_method_or_path_is_refused_in_json(sandbox: Sandbox, method: str) -> None:
    answer = requests.request(method, f"{sandbox.url}/v2/im/message", timeout=5)
    assert (answer.status_code, answer.json()) == (405, {"code": 405, "content": "Method Not Allowed"})
    assert requests.get(f"{sandbox.url}/v2/im/messages", timeout=5).json() == {"code": 404, "content": "Not Found"}


def test_a_head_request_gets_no_body(sandbox: Sandbox) -> None:
    head = b"HEAD /v2/im/history HTTP/1.1\r\nHost: sandbox\r\n\r\n"
    answer = exchange(sandbox, head)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Content-Length: abc", 411),
        (b"Content-Length: -1", 411),
        (b"Transfer-Encoding: chunked", 411),
        (b"Content-Length: 1048577", 413),
        (b"Content-Length: " + b"9" * 5_000, 413),
    ],
    ids=["no number", "negative", "chunked", "too long", "absurd"],
)
def test_a_body_of_unknown_or_excessive_length_closes_the_connection(
    sandbox: Sandbox, header: bytes, status: int
) -> None:
    call = b"POST /v2/im/message HTTP/1.1\r\nHost: sandbox\r\nContent-Type: application/json\r\n" + header + b"\r\n\r\n"
    head, _, body = exchange(sandbox, call).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(body)["code"] == status
    assert sandbox.calls() == []


def exchange(sandbox: Sandbox, call: bytes) -> bytes:
    """Send bytes and return everything that arrives until the sandbox closes the connection."""
    with socket.create_connection(sandbox.server.server_address[:2], timeout=5) as connection:
        connection.sendall(call)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_an_exception_in_the_on_call_hook_is_printed(
    sandbox: Sandbox, recall: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    def hook(_call: dict[str, Any]) -> None:
        raise AssertionError("no intent was committed")

    sandbox.on_call = hook
    with pytest.raises(requests.ConnectionError):
        recall()
    deadline = time.monotonic() + 5
    shown = ""
    while "no intent was committed" not in shown:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        shown += capfd.readouterr().err
    assert sandbox.appkey not in shown


def test_sixteen_concurrent_clients_lose_no_call(sandbox: Sandbox) -> None:
    sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 50}])
    body = {"appkey": sandbox.appkey, **PAIR, "messages": [T + number for number in range(20)]}

    def call_twenty_times() -> None:
        with requests.Session() as session:
            for _ in range(20):
                assert session.post(f"{sandbox.url}/v2/im/history/recall", json=body, timeout=5).status_code == 200

    threads = [threading.Thread(target=call_twenty_times) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    calls = sandbox.calls("recall")
    assert len(calls) == 320
    assert max(call["in_flight"] for call in calls) > 8  # a busy machine may not run all sixteen at once
    assert sandbox.in_flight == {"recall": 0}


def test_recorded_calls_have_their_concurrency_and_no_key(
    sandbox: Sandbox, recall: Callable[..., Any], history: Callable[..., Any], send: Callable[..., Any]
) -> None:
    together = threading.Barrier(4)

    def wait_for_the_others(_call: dict[str, Any]) -> None:
        together.wait(10)

    sandbox.on_call = wait_for_the_others
    threads = [threading.Thread(target=recall) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sandbox.on_call = None
    recall(appkey="BC-somebody-elses-key")
    calls = requests.get(f"{sandbox.url}/sandbox/calls", params={"endpoint": "recall"}, timeout=5).json()["content"]
    assert [call["in_flight"] for call in calls] == [1, 2, 3, 4, 1]
    assert [call["body"]["appkey"] for call in calls] == [*["valid"] * 4, "invalid"]
    history()
    send(appkey=sandbox.rest_key)
    everything = requests.get(f"{sandbox.url}/sandbox/calls", timeout=5).text
    assert [call["endpoint"] for call in json.loads(everything)["content"][-2:]] == ["history", "send"]
    assert "BC-" not in everything
    assert "PR-" not in everything


def test_messages_survive_a_restart(tmp_path: Path) -> None:
    with Sandbox(data=tmp_path / "s.sqlite3") as first:
        first.add_messages(CONVERSATION, [text(T)])
        first.store.recall(CONVERSATION, [T], {"id": "s"})
    with Sandbox(data=tmp_path / "s.sqlite3") as second:
        (message,) = second.messages(CONVERSATION)
        assert (message["timestamp"], message["recalled"], message["recaller"]) == (T, True, {"id": "s"})


def test_the_command_serves_until_sigterm(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "manage.py",
            "goeasy_sandbox",
            "--port",
            "0",
            "--seed",
            "none",
            "--data",
            str(tmp_path / "s.db"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("listening on http://127.0.0.1:")
        url = first.split()[-1]
        assert requests.get(f"{url}/sandbox/calls", timeout=5).json() == {"code": 200, "content": []}
        assert requests.get(f"{url}/nowhere", timeout=5).status_code == 404
        assert requests.put(f"{url}/v2/im/message", timeout=5).status_code == 405
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--data", "{tmp}/junk"], "--data"),
        (["--data", "{tmp}/junk/s.db"], "--data"),
        (["--data", "{tmp}/s.db", "--port", "99999"], "99999"),
    ],
)
def test_an_unusable_file_or_port_is_refused_by_name(tmp_path: Path, options: list[str], named: str) -> None:
    (tmp_path / "junk").write_text("not a database, but long enough to be looked at " * 10)
    with pytest.raises(CommandError, match=named):
        call_command("goeasy_sandbox", "--port", "0", *[option.format(tmp=tmp_path) for option in options])
