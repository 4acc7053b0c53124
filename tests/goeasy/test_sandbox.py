"""The sandbox over real HTTP: as strict as the documentation, and as faulty as it is told to be."""

from __future__ import annotations

import json
import os
import signal
import socket
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
from django.core.management import CommandError, call_command

from moderation.goeasy.sandbox import Sandbox
from moderation.goeasy.sandbox.seed import TOWN_SQUARE
from moderation.goeasy.signing import verify

ROOT = Path(__file__).resolve().parents[2]
T = 1_700_000_000_000
PAIR = {"userAId": "a", "userBId": "b"}
CONVERSATION = {"kind": "private", "user_a": "a", "user_b": "b"}
GROUP = {"kind": "group", "group_id": "g"}
ACKNOWLEDGEMENT = b'{"code":200,"content":"success"}'


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


@pytest.fixture
def send(sandbox: Sandbox) -> Callable[..., requests.Response]:
    """A function that sends a text from a to b, with these fields changed."""

    def post(**fields: Any) -> requests.Response:
        body = {
            "appkey": sandbox.appkey,
            "senderId": "a",
            "to": {"type": "private", "id": "b"},
            "type": "text",
            "payload": {"text": "你好"},
            **fields,
        }
        return requests.post(f"{sandbox.url}/v2/im/message", json=body, timeout=5)

    return post


@pytest.mark.parametrize(
    "fields",
    [
        {"userBId": None},
        {"userAId": None, "userBId": None},
        {"groupId": "g"},
        {"groupId": "g", "userBId": None},
        {"groupId": "", "userAId": None, "userBId": None},
        {"groupId": 7, "userAId": None, "userBId": None},
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
        {"messages": [T * 10]},
        {"messages": [-T]},
        {"messages": [T, None]},
        {"messages": {"0": T}},
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


def test_a_recall_may_name_up_to_twenty_messages_a_group_and_the_longest_id(
    sandbox: Sandbox, recall: Callable[..., Any]
) -> None:
    sandbox.add_messages(GROUP, [text(T + number) for number in range(21)])
    group = {"userAId": None, "userBId": None, "groupId": "g"}
    assert recall(**group, messages=[T + number for number in range(20)]).json() == {"code": 200, "content": "OK"}
    assert [message["timestamp"] for message in sandbox.messages(GROUP) if not message.get("recalled")] == [T + 20]
    assert recall(userAId="x" * 255).json()["code"] == 200


@pytest.mark.parametrize("recaller", [{"id": "s"}, {"data": {"name": "x"}}, {"id": "s", "data": {}}], ids=json.dumps)
def test_a_recaller_has_an_id_or_data_or_both(
    sandbox: Sandbox, recall: Callable[..., Any], recaller: dict[str, Any]
) -> None:
    sandbox.add_messages(CONVERSATION, [text(T)])
    assert recall(recaller=recaller).json()["code"] == 200
    assert sandbox.messages(CONVERSATION)[0]["recaller"] == recaller


def test_a_body_that_is_no_json_is_refused(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    assert recall(headers={"Content-Type": "text/plain"}).json()["code"] == 400
    for body in (b"{", b"[]", b"", b"\xff", b"[" * 100_000):
        answer = requests.post(
            f"{sandbox.url}/v2/im/history/recall", data=body, headers={"Content-Type": "application/json"}, timeout=5
        )
        assert answer.json()["code"] == 400


@pytest.mark.parametrize("depth", [101, 900, 20_000])
def test_a_body_that_nests_too_deeply_is_refused_on_every_python(sandbox: Sandbox, depth: int) -> None:
    answer = requests.post(
        f"{sandbox.url}/v2/im/history/recall",
        data='{"a":' * depth + "1" + "}" * depth,
        headers={"Content-Type": "application/json"},
        timeout=5,
    )
    assert answer.json() == {"code": 400, "content": "the body nests too deeply"}


def test_only_the_common_key_and_the_rest_key_are_accepted(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    assert recall(appkey=sandbox.rest_key).json() == {"code": 200, "content": "OK"}
    wrong: list[Any] = [sandbox.subscribe_key, "BC-wrong", "", None, 7, []]
    for key in wrong:
        answer = recall(appkey=key)
        assert (answer.status_code, answer.json()) == (401, {"code": 401, "content": "Unauthorized"})


def test_history_and_sending_want_a_key_too(
    sandbox: Sandbox, history: Callable[..., Any], send: Callable[..., Any]
) -> None:
    for ask in (history, send):
        assert ask(appkey=sandbox.rest_key).json()["code"] == 200
        assert ask(appkey=sandbox.subscribe_key).status_code == 401
    assert len(sandbox.messages(CONVERSATION)) == 1


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
    assert times(limit=2, userAId="b", userBId="a") == [49, 48]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 31},
        {"limit": 0},
        {"limit": "x"},
        {"lasttimestamp": "-1"},
        {"lasttimestamp": "9" * 30},
        {"groupId": "g"},
        {"userBId": None},
    ],
)
def test_a_wrong_question_for_history_is_refused(history: Callable[..., Any], query: dict[str, Any]) -> None:
    assert history(**query).json()["code"] == 400


def test_groups_tell_their_senders_and_pairs_their_receivers(sandbox: Sandbox, history: Callable[..., Any]) -> None:
    (of_group,) = sandbox.add_messages(GROUP, [{**text(T), "senderData": {"name": "小林"}}])
    (of_pair,) = sandbox.add_messages(CONVERSATION, [text(T, "b")])
    assert (of_group["groupId"], of_group["senderData"]) == ("g", {"name": "小林"})
    assert "receiverId" not in of_group
    assert of_pair["receiverId"] == "a"
    assert not {"groupId", "senderData"} & set(of_pair)
    assert len(of_pair["messageId"]) == 32
    assert history(userAId=None, userBId=None, groupId="g").json()["content"] == [of_group]
    assert history().json()["content"] == [of_pair]


def test_history_still_tells_what_was_recalled_and_by_whom(
    sandbox: Sandbox, recall: Callable[..., Any], history: Callable[..., Any]
) -> None:
    sandbox.add_messages(CONVERSATION, [text(T), text(T + 1)])
    recall(recaller={"id": "s"})
    newer, older = history().json()["content"]
    assert (older["recalled"], older["recaller"]) == (True, {"id": "s"})
    assert not {"recalled", "recaller"} & set(newer)


def test_a_message_can_be_sent_and_is_in_history(send: Callable[..., Any], history: Callable[..., Any]) -> None:
    assert send().json() == {"code": 200, "content": "OK"}
    (message,) = history().json()["content"]
    assert (message["payload"], message["senderId"], message["receiverId"]) == ({"text": "你好"}, "a", "b")
    sender = {"name": "小林"}
    assert send(to={"type": "group", "id": "g"}, senderData=sender, type="order", payload={"n": 1}).status_code == 200
    (of_group,) = history(userAId=None, userBId=None, groupId="g").json()["content"]
    assert (of_group["senderData"], of_group["type"], of_group["payload"]) == (sender, "order", {"n": 1})


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"payload": {"text": "字" * 1024}}, 200),
        ({"payload": {"text": "字" * 1024 + "a"}}, 400),
        ({"payload": "字" * 1024 + "a"}, 400),
        ({"payload": {"words": "x"}}, 400),
        ({"type": "order", "payload": {"text": "字" * 1025}}, 200),
        ({"to": {"type": "room", "id": "b"}}, 400),
        ({"to": {"type": [], "id": "b"}}, 400),
        ({"to": {"type": "group"}}, 400),
        ({"to": "b"}, 400),
        ({"senderId": ""}, 400),
        ({"type": ""}, 400),
        ({"urgent": True}, 400),
    ],
)
def test_sending_has_rules(send: Callable[..., Any], fields: dict[str, Any], code: int) -> None:
    answer = send(**fields)
    assert (answer.status_code, answer.json()["code"]) == (code, code)


def test_a_text_that_utf8_cannot_hold_does_no_harm(sandbox: Sandbox, send: Callable[..., Any]) -> None:
    assert send(payload={"text": "\ud800"}).status_code == 200
    assert send().status_code == 200
    assert [message["payload"]["text"] for message in sandbox.messages(CONVERSATION)] == ["你好", "\ud800"]


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
    begin = time.monotonic()
    answer = requests.post(url, json=body, timeout=5, allow_redirects=False)
    assert time.monotonic() - begin >= fault.get("ms", 0) / 1000
    assert answer.status_code == status
    assert answer.headers.get("Location") == fault.get("to")
    assert answer.headers["Content-Type"].startswith("text/html") is (fault["kind"] == "html")
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


def test_latency_goes_together_with_another_fault_and_of_the_others_the_first_holds(
    sandbox: Sandbox, recall: Callable[..., Any]
) -> None:
    sandbox.set_faults(
        [
            {"on": "recall", "kind": "latency", "ms": 60, "times": 2},
            {"on": "recall", "kind": "status", "status": 503, "after": 1, "times": 1},
            {"on": "*", "kind": "refuse", "code": 418, "times": 1},
        ]
    )
    for status, waits in ((418, 0.06), (503, 0.06), (200, 0)):
        begin = time.monotonic()
        assert recall().status_code == status
        assert time.monotonic() - begin >= waits
    assert [rule.times for rule in sandbox.faults.rules] == [0, 0, 0]


def test_a_fault_leaves_the_other_endpoints_alone_unless_it_is_for_all(
    sandbox: Sandbox, recall: Callable[..., Any], history: Callable[..., Any], send: Callable[..., Any]
) -> None:
    sandbox.set_faults([{"on": "history", "kind": "refuse", "code": 418}])
    assert [ask().status_code for ask in (recall, history, send)] == [200, 418, 200]
    sandbox.set_faults([{"kind": "refuse", "code": 418}])
    assert [ask().status_code for ask in (recall, history, send)] == [418, 418, 418]


def test_faults_can_be_set_over_http_and_a_wrong_one_is_named(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    url = f"{sandbox.url}/sandbox/faults"
    assert requests.post(url, json={"rules": [{"kind": "nonsense"}]}, timeout=5).status_code == 400
    assert requests.post(url, json={"rules": [{"on": "recall", "kind": "refuse"}]}, timeout=5).status_code == 200
    assert recall().json()["code"] == 401
    requests.delete(url, timeout=5)
    assert recall().json()["code"] == 200


@pytest.mark.parametrize(
    "rule",
    [
        "latency",
        {},
        {"kind": []},
        {"kind": "refuse", "on": ["recall"]},
        {"kind": "refuse", "on": "recal"},
        {"kind": "latency"},
        {"kind": "latency", "ms": "50"},
        {"kind": "latency", "ms": -1},
        {"kind": "latency", "seconds": 1},
        {"kind": "status", "status": True},
        {"kind": "status", "status": 42},
        {"kind": "status", "retry_after": "soon"},
        {"kind": "refuse", "code": 50_001},
        {"kind": "redirect"},
        {"kind": "drop_before", "effect": True},
        {"kind": "half", "times": "2"},
        {"kind": "half", "after": None},
    ],
    ids=json.dumps,
)
def test_a_fault_that_could_not_be_made_is_refused_when_it_is_set(
    sandbox: Sandbox, recall: Callable[..., Any], rule: Any
) -> None:
    url = f"{sandbox.url}/sandbox/faults"
    requests.post(url, json={"rules": [{"kind": "refuse", "code": 418}]}, timeout=5).raise_for_status()
    answer = requests.post(url, json={"rules": [rule]}, timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    assert recall().json()["code"] == 418  # what was in force still is


def test_messages_are_put_there_and_seen_over_http(sandbox: Sandbox, history: Callable[..., Any]) -> None:
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


def test_it_can_be_emptied_and_seeded_anew(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    url = f"{sandbox.url}/sandbox/reset"
    square = {"kind": "group", "group_id": TOWN_SQUARE}
    sandbox.add_messages(CONVERSATION, [text(T)])
    sandbox.set_faults([{"kind": "refuse", "code": 418}])
    recall()
    assert requests.post(url, json={"seed": "nonsense"}, timeout=5).status_code == 400
    assert sandbox.messages(CONVERSATION)
    assert requests.post(url, json={"seed": "demo"}, timeout=5).status_code == 200
    assert (sandbox.messages(CONVERSATION), sandbox.calls()) == ([], [])
    assert len(sandbox.messages(square)) >= 1_200
    assert recall().json()["code"] == 200
    assert requests.post(url, timeout=5).status_code == 200
    assert sandbox.messages(square) == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_a_wrong_method_or_address_is_refused_in_json(sandbox: Sandbox, method: str) -> None:
    answer = requests.request(method, f"{sandbox.url}/v2/im/message", timeout=5)
    assert (answer.status_code, answer.json()) == (405, {"code": 405, "content": "Method Not Allowed"})
    assert requests.get(f"{sandbox.url}/v2/im/messages", timeout=5).json() == {"code": 404, "content": "Not Found"}


def test_head_gets_no_body(sandbox: Sandbox) -> None:
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
def test_a_body_of_unknown_or_too_great_length_is_refused_and_the_connection_closed(
    sandbox: Sandbox, header: bytes, status: int
) -> None:
    call = b"POST /v2/im/message HTTP/1.1\r\nHost: sandbox\r\nContent-Type: application/json\r\n" + header + b"\r\n\r\n"
    head, _, body = exchange(sandbox, call).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(body)["code"] == status
    assert sandbox.calls() == []


def exchange(sandbox: Sandbox, call: bytes) -> bytes:
    """Everything that is answered to these bytes until the sandbox closes the connection."""
    with socket.create_connection(sandbox.server.server_address[:2], timeout=5) as connection:
        connection.sendall(call)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_a_mistake_in_a_test_s_own_hook_is_not_silent(
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


def test_it_answers_sixteen_calls_at_once_and_loses_none(sandbox: Sandbox) -> None:
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
    assert max(call["in_flight"] for call in calls) > 8  # a busy machine may not get all sixteen under way
    assert sandbox.in_flight == {"recall": 0}


def test_calls_are_counted_while_under_way_and_never_show_the_key(
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


def test_its_memory_survives_a_restart(tmp_path: Path) -> None:
    with Sandbox(data=tmp_path / "s.sqlite3") as first:
        first.add_messages(CONVERSATION, [text(T)])
        first.store.recall(CONVERSATION, [T], {"id": "s"})
    with Sandbox(data=tmp_path / "s.sqlite3") as second:
        (message,) = second.messages(CONVERSATION)
        assert (message["timestamp"], message["recalled"], message["recaller"]) == (T, True, {"id": "s"})


@pytest.fixture
def receiver() -> Iterator[Any]:
    """A webhook's address that remembers what came, and answers with `receiver.answer`."""

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
def test_the_webhook_is_signed_and_after_three_refusals_it_is_silent_until_turned_on(
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


def test_a_text_that_utf8_cannot_hold_does_not_end_the_webhook(tmp_path: Path, receiver: Any) -> None:
    address = f"http://127.0.0.1:{receiver.server_address[1]}/hook"
    with Sandbox(data=tmp_path / "s.sqlite3", webhook_url=address) as sandbox:
        for payload in ("\ud800", "你好"):
            body = {"senderId": "a", "to": {"type": "group", "id": "g"}, "type": "text", "payload": payload}
            requests.post(f"{sandbox.url}/v2/im/message", json={"appkey": sandbox.appkey, **body}, timeout=5)
    assert len(receiver.seen) == 2  # closing delivers what waits


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


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--data", "{tmp}/junk"], "--data"),
        (["--data", "{tmp}/junk/s.db"], "--data"),
        (["--data", "{tmp}/s.db", "--port", "99999"], "99999"),
    ],
)
def test_a_start_that_cannot_be_made_is_a_sentence(tmp_path: Path, options: list[str], named: str) -> None:
    (tmp_path / "junk").write_text("not a database, but long enough to be looked at " * 10)
    with pytest.raises(CommandError, match=named):
        call_command("goeasy_sandbox", "--port", "0", *[option.format(tmp=tmp_path) for option in options])
