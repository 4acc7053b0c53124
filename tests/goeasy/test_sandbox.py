"""The sandbox over real HTTP: as strict as the documentation, and as faulty as it is told to be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests

from moderation.goeasy.sandbox import Sandbox
from moderation.goeasy.signing import verify

ROOT = Path(__file__).resolve().parents[2]
T = 1_700_000_000_000
PAIR = {"userAId": "a", "userBId": "b"}
CONVERSATION = {"kind": "private", "user_a": "a", "user_b": "b"}
GROUP = {"kind": "group", "group_id": "g"}


def text(timestamp: int, sender: str = "a") -> dict[str, Any]:
    return {"timestamp": timestamp, "senderId": sender, "type": "text", "payload": {"text": str(timestamp)}}


@pytest.fixture
def recall(sandbox: Sandbox) -> Callable[..., requests.Response]:
    """A function that posts a recall of one message of the pair, with these fields changed (None leaves one out)."""

    def post(headers: dict[str, str] | None = None, **fields: Any) -> requests.Response:
        body = {"appkey": sandbox.appkey, **PAIR, "messages": [T], **fields}
        return requests.post(
            f"{sandbox.url}/v2/im/history/recall",
            data=json.dumps({name: value for name, value in body.items() if value is not None}),
            headers=headers or {"Content-Type": "application/json"},
            timeout=5,
        )

    return post


@pytest.fixture
def history(sandbox: Sandbox) -> Callable[..., requests.Response]:
    """A function that asks for the pair's history."""

    def get(**query: Any) -> requests.Response:
        return requests.get(
            f"{sandbox.url}/v2/im/history", params={"appkey": sandbox.appkey, **PAIR, **query}, timeout=5
        )

    return get


@pytest.mark.parametrize(
    "fields",
    [
        {"userBId": None},
        {"userAId": None, "userBId": None},
        {"groupId": "g"},
        {"userAId": 7},
        {"userAId": ""},
        {"userAId": "x" * 256},
        {"messages": []},
        {"messages": None},
        {"messages": T},
        {"messages": [T + number for number in range(21)]},
        {"messages": [str(T)]},
        {"messages": [float(T)]},
        {"messages": [True]},
        {"messages": [T // 1000]},
        {"recaller": {}},
        {"recaller": "support"},
        {"recaller": {"id": 7}},
        {"recaller": {"id": "s", "data": "x"}},
        {"recaller": {"id": "s", "name": "x"}},
        {"reason": "spam"},
    ],
    ids=json.dumps,
)
def test_a_wrong_recall_is_refused_with_a_reason(recall: Callable[..., Any], fields: dict[str, Any]) -> None:
    answer = recall(**fields)
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    assert answer.json()["content"]


def test_a_body_that_is_no_json_is_refused(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    assert recall(headers={"Content-Type": "text/plain"}).json()["code"] == 400
    for body in (b"{", b"[]", b""):
        answer = requests.post(
            f"{sandbox.url}/v2/im/history/recall", data=body, headers={"Content-Type": "application/json"}, timeout=5
        )
        assert answer.json()["code"] == 400


def test_only_the_common_key_and_the_rest_key_are_accepted(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    assert recall(appkey=sandbox.rest_key).json() == {"code": 200, "content": "OK"}
    for key in (sandbox.subscribe_key, "BC-wrong", "", None, 7):
        answer = recall(appkey=key)
        assert (answer.status_code, answer.json()) == (401, {"code": 401, "content": "Unauthorized"})


def test_a_recall_takes_every_message_of_the_millisecond_whichever_side_is_named_first(
    sandbox: Sandbox, recall: Callable[..., Any]
) -> None:
    sandbox.add_messages(CONVERSATION, [text(T), text(T, "b"), text(T + 1)])
    assert recall(userAId="b", userBId="a", recaller={"id": "s", "data": {"name": "客服"}}).json()["code"] == 200
    told = {
        (message["timestamp"], message["senderId"]): message.get("recaller")
        for message in sandbox.messages(CONVERSATION)
        if message.get("recalled")
    }
    recaller = {"id": "s", "data": {"name": "客服"}}
    assert told == {(T, "a"): recaller, (T, "b"): recaller}


def test_recalling_again_is_accepted_and_the_first_recaller_stays(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    sandbox.add_messages(CONVERSATION, [text(T)])
    assert recall(recaller={"id": "first"}).json()["code"] == 200
    assert recall(recaller={"id": "second"}).json()["code"] == 200
    assert sandbox.messages(CONVERSATION)[0]["recaller"] == {"id": "first"}


def test_history_comes_newest_first_in_pages_strictly_before_the_cursor(
    sandbox: Sandbox, history: Callable[..., Any]
) -> None:
    sandbox.add_messages(CONVERSATION, [text(T + number) for number in range(50)])

    def times(**query: Any) -> list[int]:
        return [message["timestamp"] - T for message in history(**query).json()["content"]]

    assert times() == list(range(49, 39, -1))
    assert times(limit=30) == list(range(49, 19, -1))
    assert times(limit=30, lasttimestamp=T + 3) == [2, 1, 0]
    assert times(lasttimestamp=T) == []


@pytest.mark.parametrize(
    "query", [{"limit": 31}, {"limit": 0}, {"limit": "x"}, {"lasttimestamp": "-1"}, {"groupId": "g"}]
)
def test_a_wrong_question_for_history_is_refused(history: Callable[..., Any], query: dict[str, Any]) -> None:
    assert history(**query).json()["code"] == 400


def test_groups_tell_their_senders_and_pairs_their_receivers(sandbox: Sandbox) -> None:
    (of_group,) = sandbox.add_messages(GROUP, [{**text(T), "senderData": {"name": "小林"}}])
    (of_pair,) = sandbox.add_messages(CONVERSATION, [text(T, "b")])
    assert (of_group["groupId"], of_group["senderData"]) == ("g", {"name": "小林"})
    assert of_pair["receiverId"] == "a"
    assert len(of_pair["messageId"]) == 32


def test_a_message_can_be_sent_and_is_in_history(sandbox: Sandbox, history: Callable[..., Any]) -> None:
    def send(**fields: Any) -> Any:
        body = {
            "appkey": sandbox.appkey,
            "senderId": "a",
            "to": {"type": "private", "id": "b"},
            "type": "text",
            "payload": {"text": "你好"},
            **fields,
        }
        return requests.post(f"{sandbox.url}/v2/im/message", json=body, timeout=5).json()

    assert send() == {"code": 200, "content": "OK"}
    (message,) = history().json()["content"]
    assert (message["payload"], message["senderId"], message["receiverId"]) == ({"text": "你好"}, "a", "b")
    assert send(payload={"text": "字" * 1025})["code"] == 400
    assert send(to={"type": "room", "id": "b"})["code"] == 400
    assert send(senderId="")["code"] == 400
    assert send(type="order", payload={"orderId": 1})["code"] == 200


@pytest.mark.parametrize(
    ("fault", "status", "code", "effect"),
    [
        ({"kind": "status", "status": 500}, 500, None, False),
        ({"kind": "status", "status": 429, "retry_after": 2}, 429, None, False),
        ({"kind": "refuse", "code": 403, "content": "no"}, 403, 403, False),
        ({"kind": "html"}, 502, None, False),
        ({"kind": "html", "status": 200, "effect": True}, 200, None, True),
        ({"kind": "redirect", "to": "http://127.0.0.1:9/"}, 302, None, False),
        ({"kind": "latency", "ms": 30}, 200, 200, True),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else None,
)
def test_a_fault_answers_as_told(
    sandbox: Sandbox, fault: dict[str, Any], status: int, code: int | None, effect: bool
) -> None:
    sandbox.add_messages(CONVERSATION, [text(T)])
    sandbox.set_faults([{"on": "recall", **fault}])
    body = {"appkey": sandbox.appkey, **PAIR, "messages": [T]}
    url = f"{sandbox.url}/v2/im/history/recall"
    answer = requests.post(url, json=body, timeout=5, allow_redirects=False)
    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == (str(fault["retry_after"]) if "retry_after" in fault else None)
    if code:
        assert answer.json()["code"] == code
    assert bool(sandbox.messages(CONVERSATION)[0].get("recalled")) is effect


@pytest.mark.parametrize(("kind", "effect"), [("drop_before", False), ("drop_after", True), ("half", True)])
def test_a_connection_breaks_before_or_after_the_effect(
    sandbox: Sandbox, recall: Callable[..., Any], kind: str, effect: bool
) -> None:
    sandbox.add_messages(CONVERSATION, [text(T)])
    sandbox.set_faults([{"on": "recall", "kind": kind}])
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        recall()
    assert bool(sandbox.messages(CONVERSATION)[0].get("recalled")) is effect


def test_faults_hold_for_so_many_calls_after_so_many(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    sandbox.set_faults([{"on": "recall", "kind": "refuse", "code": 418, "after": 1, "times": 2}])
    assert [recall().json()["code"] for _ in range(4)] == [200, 418, 418, 200]


def test_faults_can_be_set_over_http_and_a_wrong_one_is_named(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    url = f"{sandbox.url}/sandbox/faults"
    assert requests.post(url, json={"rules": [{"kind": "nonsense"}]}, timeout=5).status_code == 400
    assert requests.post(url, json={"rules": [{"on": "recall", "kind": "refuse"}]}, timeout=5).status_code == 200
    assert recall().json()["code"] == 401
    requests.delete(url, timeout=5)
    assert recall().json()["code"] == 200


def test_calls_are_counted_while_under_way_and_never_show_the_key(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 200}])
    threads = [threading.Thread(target=recall) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recall(appkey="BC-somebody-elses-key")
    calls = requests.get(f"{sandbox.url}/sandbox/calls", params={"endpoint": "recall"}, timeout=5).json()["content"]
    assert sorted(call["in_flight"] for call in calls[:4]) == [1, 2, 3, 4]
    assert [call["body"]["appkey"] for call in calls] == [*["valid"] * 4, "invalid"]
    assert "BC-" not in json.dumps(calls)


def test_its_memory_survives_a_restart(tmp_path: Path) -> None:
    with Sandbox(data=tmp_path / "s.sqlite3") as first:
        first.add_messages(CONVERSATION, [text(T)])
        first.store.recall(CONVERSATION, [T], {"id": "s"})
    with Sandbox(data=tmp_path / "s.sqlite3") as second:
        (message,) = second.messages(CONVERSATION)
        assert (message["timestamp"], message["recalled"]) == (T, True)


@pytest.fixture
def receiver() -> Iterator[Any]:
    """A webhook's address that remembers what came, and answers with `receiver.answer`."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            server.seen.append((body, self.headers["x-goeasy-signature"]))  # type: ignore[attr-defined]
            answer: bytes = server.answer  # type: ignore[attr-defined]
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.seen, server.answer = [], b'{"code":200,"content":"success"}'  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_webhook_is_signed_and_after_three_refusals_it_is_silent_until_turned_on(
    tmp_path: Path, receiver: Any
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
        assert json.loads(content)[0]["payload"] == {"text": "你好"}
        receiver.answer = b"thanks"
        send()
        wait_for(4)
        receiver.answer = b'{"code":200,"content":"success"}'
        send()
        wait_for(4)
        requests.post(f"{sandbox.url}/sandbox/webhook", json={"on": True}, timeout=5)
        send()
        wait_for(5)


def test_the_command_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
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
