"""The endpoints of the sandbox over real HTTP: as strict as the documentation."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from moderation.goeasy.sandbox import Sandbox
from tests.goeasy.sandbox_data import CONVERSATION, GROUP, T, text


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
def test_an_invalid_recall_is_refused_with_a_reason(recall: Callable[..., Any], fields: dict[str, Any]) -> None:
    answer = recall(**fields)
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    assert answer.json()["content"]


def test_a_recall_at_the_limits_is_accepted(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    sandbox.add_messages(GROUP, [text(T + number) for number in range(21)])
    group = {"userAId": None, "userBId": None, "groupId": "g"}
    assert recall(**group, messages=[T + number for number in range(20)]).json() == {"code": 200, "content": "OK"}
    assert [message["timestamp"] for message in sandbox.messages(GROUP) if not message.get("recalled")] == [T + 20]
    assert recall(userAId="x" * 255).json()["code"] == 200


@pytest.mark.parametrize("recaller", [{"id": "s"}, {"data": {"name": "x"}}, {"id": "s", "data": {}}], ids=json.dumps)
def test_a_recaller_can_have_an_id_or_data_or_both(
    sandbox: Sandbox, recall: Callable[..., Any], recaller: dict[str, Any]
) -> None:
    sandbox.add_messages(CONVERSATION, [text(T)])
    assert recall(recaller=recaller).json()["code"] == 200
    assert sandbox.messages(CONVERSATION)[0]["recaller"] == recaller


def test_a_body_that_is_not_json_is_refused(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    assert recall(headers={"Content-Type": "text/plain"}).json()["code"] == 400
    for body in (b"{", b"[]", b"", b"\xff", b"[" * 100_000):
        answer = requests.post(
            f"{sandbox.url}/v2/im/history/recall", data=body, headers={"Content-Type": "application/json"}, timeout=5
        )
        assert answer.json()["code"] == 400


@pytest.mark.parametrize("depth", [101, 900, 20_000])
def test_a_deeply_nested_body_is_refused(sandbox: Sandbox, depth: int) -> None:
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


def test_history_and_send_require_a_key(
    sandbox: Sandbox, history: Callable[..., Any], send: Callable[..., Any]
) -> None:
    for call in (history, send):
        assert call(appkey=sandbox.rest_key).json()["code"] == 200
        assert call(appkey=sandbox.subscribe_key).status_code == 401
    assert len(sandbox.messages(CONVERSATION)) == 1


def test_a_recall_marks_every_message_of_the_millisecond_in_either_order_of_users(
    sandbox: Sandbox, recall: Callable[..., Any]
) -> None:
    sandbox.add_messages(CONVERSATION, [text(T), text(T, "b"), text(T + 1)])
    assert recall(userAId="b", userBId="a", recaller={"id": "s", "data": {"name": "客服"}}).json()["code"] == 200
    recallers = {
        (message["timestamp"], message["senderId"]): message.get("recaller")
        for message in sandbox.messages(CONVERSATION)
        if message.get("recalled")
    }
    recaller = {"id": "s", "data": {"name": "客服"}}
    assert recallers == {(T, "a"): recaller, (T, "b"): recaller}


def test_a_second_recall_is_accepted_and_keeps_the_first_recaller(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    sandbox.add_messages(CONVERSATION, [text(T)])
    assert recall(recaller={"id": "first"}).json()["code"] == 200
    assert recall(recaller={"id": "second"}).json()["code"] == 200
    assert sandbox.messages(CONVERSATION)[0]["recaller"] == {"id": "first"}


def test_history_pages_are_newest_first_and_end_before_the_cursor(
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
def test_an_invalid_history_query_is_refused(history: Callable[..., Any], query: dict[str, Any]) -> None:
    assert history(**query).json()["code"] == 400


def test_group_messages_have_senders_and_private_messages_receivers(
    sandbox: Sandbox, history: Callable[..., Any]
) -> None:
    (of_group,) = sandbox.add_messages(GROUP, [{**text(T), "senderData": {"name": "小林"}}])
    (of_pair,) = sandbox.add_messages(CONVERSATION, [text(T, "b")])
    assert (of_group["groupId"], of_group["senderData"]) == ("g", {"name": "小林"})
    assert "receiverId" not in of_group
    assert of_pair["receiverId"] == "a"
    assert not {"groupId", "senderData"} & set(of_pair)
    assert len(of_pair["messageId"]) == 32
    assert history(userAId=None, userBId=None, groupId="g").json()["content"] == [of_group]
    assert history().json()["content"] == [of_pair]


def test_history_includes_recalled_messages_and_their_recaller(
    sandbox: Sandbox, recall: Callable[..., Any], history: Callable[..., Any]
) -> None:
    sandbox.add_messages(CONVERSATION, [text(T), text(T + 1)])
    recall(recaller={"id": "s"})
    newer, older = history().json()["content"]
    assert (older["recalled"], older["recaller"]) == (True, {"id": "s"})
    assert not {"recalled", "recaller"} & set(newer)


def test_a_sent_message_is_in_history(send: Callable[..., Any], history: Callable[..., Any]) -> None:
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
def test_send_validates_its_fields(send: Callable[..., Any], fields: dict[str, Any], code: int) -> None:
    answer = send(**fields)
    assert (answer.status_code, answer.json()["code"]) == (code, code)


def test_a_text_with_a_lone_surrogate_is_stored(sandbox: Sandbox, send: Callable[..., Any]) -> None:
    assert send(payload={"text": "\ud800"}).status_code == 200
    assert send().status_code == 200
    assert [message["payload"]["text"] for message in sandbox.messages(CONVERSATION)] == ["你好", "\ud800"]
