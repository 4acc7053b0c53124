"""The requests that the GoEasy client sends, and the calls that it refuses to send."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from moderation.goeasy.client import (
    MASK,
    REGIONS,
    Client,
    Group,
    PreparedCall,
    Private,
    Recaller,
    base_url,
    check_timestamps,
    prepare_recall,
    prepare_send,
    timestamp_problem,
)
from moderation.goeasy.errors import InvalidCall
from tests.goeasy.client_helpers import (
    KEY,
    NOW,
    SECRET_PART,
    error_page_content,
    recall,
)
from tests.goeasy.raw_server import OK, Server, http


def test_a_recall_of_a_private_chat_sends_the_documented_request(server: Server, goeasy: Client):
    answer = goeasy.recall(
        target=Private("user-1", "用户/2: 🙂"),
        timestamps=[NOW + 1, NOW],
        recaller=Recaller("mod-1", {"avatar": "/a.png", "name": "监督"}),
    )

    assert server.line == "POST /v2/im/history/recall HTTP/1.1"
    assert b"\r\ncontent-type: application/json\r\n" in server.requests[0].lower()
    assert server.body.decode() == (
        '{"appkey":"BC-0123456789abcdef","recaller":{"id":"mod-1","data":{"avatar":"/a.png","name":"监督"}},'
        '"userAId":"user-1","userBId":"用户/2: 🙂","messages":[1700000000001,1700000000000]}'
    )
    assert (answer.http_status, answer.code, answer.content, answer.is_malformed) == (200, 200, "OK", False)
    assert answer.accepted
    assert 0 <= answer.latency_ms < 2_000


@pytest.mark.parametrize("recaller", [None, Recaller(), Recaller(data={}), Recaller("", None)])
def test_an_empty_recaller_is_left_out(server: Server, goeasy: Client, recaller: Recaller | None):
    goeasy.recall(target=Group("g:1"), timestamps=[NOW], recaller=recaller)

    assert json.loads(server.body) == {"appkey": KEY, "groupId": "g:1", "messages": [NOW]}


def test_a_recaller_may_have_an_id_or_data_alone():
    assert Recaller("mod").as_field() == {"id": "mod"}
    assert Recaller(data={"name": "M"}).as_field() == {"data": {"name": "M"}}


def test_history_sends_any_id_intact_in_the_query(server: Server, goeasy: Client):
    server.answers_with(http(b'{"code":200,"content":[]}'))

    goeasy.history(target=Private("a b+c&d=é", "用户/2:?#🙂"), limit=7, before=NOW)

    assert server.line.startswith("GET /v2/im/history?appkey=")
    assert "+" not in server.line
    assert server.query == [
        ("appkey", KEY),
        ("userAId", "a b+c&d=é"),
        ("userBId", "用户/2:?#🙂"),
        ("limit", "7"),
        ("lasttimestamp", str(NOW)),
    ]
    assert server.body == b""


def test_history_without_a_cursor_requests_the_newest_30(server: Server, goeasy: Client):
    server.answers_with(http(b'{"code":200,"content":[]}'))

    assert goeasy.history(target=Group("g")).messages == ()
    assert server.query == [("appkey", KEY), ("groupId", "g"), ("limit", "30")]


def test_send_sends_the_documented_request(server: Server, goeasy: Client):
    goeasy.send(
        sender_id="system",
        sender_data={"name": "系统"},
        to=("group", "g"),
        to_data={"name": "G"},
        type="text",
        payload={"text": "removed"},
        notification={"title": "t", "body": "b"},
    )

    assert server.line == "POST /v2/im/message HTTP/1.1"
    assert list(json.loads(server.body).items()) == [
        ("appkey", KEY),
        ("senderId", "system"),
        ("senderData", {"name": "系统"}),
        ("to", {"type": "group", "id": "g", "data": {"name": "G"}}),
        ("type", "text"),
        ("payload", {"text": "removed"}),
        ("notification", {"title": "t", "body": "b"}),
    ]


def test_send_omits_optional_fields(server: Server, goeasy: Client):
    goeasy.send(sender_id="s", to=("private", "u"), type="order", payload="text")

    assert json.loads(server.body) == {
        "appkey": KEY,
        "senderId": "s",
        "to": {"type": "private", "id": "u"},
        "type": "order",
        "payload": "text",
    }


LONG = "x" * 256


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("messages", lambda c: c.recall(target=Group("g"), timestamps=[])),
        ("messages", lambda c: c.recall(target=Group("g"), timestamps=range(NOW, NOW + 21))),
        ("messages", lambda c: c.recall(target=Group("g"), timestamps=[NOW, NOW])),
        ("messages", lambda c: c.recall(target=Group("g"), timestamps=[NOW // 1000])),
        ("messages", lambda c: c.recall(target=Group("g"), timestamps=[float(NOW)])),
        ("messages", lambda c: c.recall(target=Group("g"), timestamps=[str(NOW)])),
        ("messages", lambda c: c.recall(target=Group("g"), timestamps=[True])),
        ("messages", lambda c: c.recall(target=Group("g"), timestamps=[int(time.time() * 1000) + 86_410_000])),
        ("groupId", lambda c: c.recall(target=Group(""), timestamps=[NOW])),
        ("groupId", lambda c: c.recall(target=Group(LONG), timestamps=[NOW])),
        ("userAId", lambda c: c.recall(target=Private("", "b"), timestamps=[NOW])),
        ("userBId", lambda c: c.recall(target=Private("a", "b\x00"), timestamps=[NOW])),
        ("userBId", lambda c: c.recall(target=Private("a", "b\ud800"), timestamps=[NOW])),
        ("userAId", lambda c: c.recall(target=Private(None, "b"), timestamps=[NOW])),
        ("recaller.id", lambda c: c.recall(target=Group("g"), timestamps=[NOW], recaller=Recaller(LONG))),
        ("recaller.data", lambda c: Recaller(data=["no object"])),
        ("recaller.data", lambda c: Recaller(data={"n": float("nan")})),
        ("recaller.data", lambda c: Recaller(data={"n": object()})),
        ("recaller.data", lambda c: Recaller(data={"n": "\ud800"})),
        ("recaller.data", lambda c: Recaller(data={"n": "\x00"})),
        ("recaller.data", lambda c: Recaller(data={"n": "字" * 700})),
        ("limit", lambda c: c.history(target=Group("g"), limit=0)),
        ("limit", lambda c: c.history(target=Group("g"), limit=31)),
        ("limit", lambda c: c.history(target=Group("g"), limit=True)),
        ("lasttimestamp", lambda c: c.history(target=Group("g"), before=NOW // 1000)),
        ("lasttimestamp", lambda c: c.history(target=Group("g"), before=10**20)),
        ("senderId", lambda c: c.send(sender_id="", to=("group", "g"), type="text", payload="x")),
        ("to.type", lambda c: c.send(sender_id="s", to=("room", "g"), type="text", payload="x")),
        ("to.id", lambda c: c.send(sender_id="s", to=("group", ""), type="text", payload="x")),
        ("type", lambda c: c.send(sender_id="s", to=("group", "g"), type="", payload="x")),
        ("payload", lambda c: c.send(sender_id="s", to=("group", "g"), type="text", payload={"text": "字" * 1025})),
        ("payload", lambda c: c.send(sender_id="s", to=("group", "g"), type="text", payload=5)),
        ("senderData", lambda c: c.send(sender_id="s", to=("group", "g"), type="t", payload="", sender_data=[])),
    ],
)
def test_an_invalid_call_names_its_field_and_sends_nothing(
    server: Server, goeasy: Client, field: str, call: Callable[[Client], Any]
):
    with pytest.raises(InvalidCall) as refused:
        call(goeasy)

    assert refused.value.field == field
    assert refused.value.kind == "invalid_call"
    assert refused.value.latency_ms is None
    assert str(refused.value).endswith(".")
    assert isinstance(refused.value, ValueError)
    assert server.connections == 0
    assert SECRET_PART not in error_page_content(refused.value)


def test_values_at_the_limits_are_accepted(server: Server, goeasy: Client):
    goeasy.recall(target=Group("x" * 255), timestamps=range(NOW, NOW + 20))
    goeasy.recall(target=Private("same", "same"), timestamps=[int(time.time() * 1000) + 86_000_000])
    goeasy.recall(target=Group("g"), timestamps=[NOW], recaller=Recaller(data={"n": "x" * (2048 - 8)}))
    Recaller(data={"n": "\\u0000 is text here"})
    goeasy.send(sender_id="s", to=("group", "g"), type="text", payload={"text": "字" * 1024})

    assert len(server.requests) == 4


@pytest.mark.parametrize("appkey", ["", " ", "BC-密", "BC\n0123456789"])
def test_a_malformed_key_is_never_sent(server: Server, appkey: str):
    with Client(appkey=appkey, rest_host=server.url) as client, pytest.raises(InvalidCall) as refused:
        recall(client)

    assert refused.value.field == "appkey"
    assert server.connections == 0


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (NOW, None),
        (NOW + 86_400_000, None),
        (NOW + 86_400_001, "future"),
        (NOW // 1000, "seconds"),
        (NOW * 1000, "digits"),
        (-NOW, "digits"),
        (0, "digits"),
        (float(NOW), "not_whole"),
        (str(NOW), "not_whole"),
        (False, "not_whole"),
        (None, "not_whole"),
    ],
)
def test_a_timestamp_problem_has_a_code(value: object, problem: str | None):
    assert timestamp_problem(value, now_ms=NOW) == problem


def test_the_limit_of_timestamps_can_be_changed():
    assert len(check_timestamps(range(NOW, NOW + 30), now_ms=NOW, limit=30)) == 30


def test_an_endless_iterator_of_timestamps_is_refused_at_once():
    def endless() -> Iterator[int]:
        value = NOW
        while True:
            yield value
            value -= 1

    with pytest.raises(InvalidCall):
        check_timestamps(endless(), now_ms=NOW)


@pytest.mark.parametrize(
    ("rest_host", "url"),
    [
        ("hangzhou", REGIONS["hangzhou"]),
        (" Singapore ", REGIONS["singapore"]),
        ("rest-hangzhou.goeasy.io", "https://rest-hangzhou.goeasy.io"),
        ("goeasy.example:8443", "https://goeasy.example:8443"),
        ("localhost", "https://localhost"),
        ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("http://127.0.0.1:8001/", "http://127.0.0.1:8001"),
        ("https://proxy.example/goeasy/", "https://proxy.example/goeasy"),
        ("http://[::1]:8001", "http://[::1]:8001"),
        ("http://goeasy", "http://goeasy"),
    ],
)
def test_a_rest_host_is_a_region_a_host_or_a_url(rest_host: str, url: str):
    assert base_url(rest_host) == url


@pytest.mark.parametrize(
    "rest_host",
    [
        "",
        "hangzhuo",
        "ftp://goeasy.example",
        "https://",
        "https://a b.example",
        "https://a..example",
        "https://x.example:0",
        "https://x.example:99999",
        "https://[1::2::3]",
        "http://x.example?a=b",
        "http://x.example/#f",
        "杭州",
        "a.example\nb.example",
    ],
)
def test_an_invalid_rest_host_is_refused_by_name(rest_host: str):
    with pytest.raises(ValueError) as refused:
        base_url(rest_host)

    named = rest_host.partition("?")[0].partition("#")[0]
    assert f"“{named}”" in str(refused.value)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    "rest_host", [f"https://user:{KEY}@goeasy.example", f"https://x.example/v2?appkey={KEY}", f"x.example#{KEY}"]
)
def test_the_error_does_not_repeat_a_secret_in_a_rest_host(rest_host: str):
    with pytest.raises(ValueError) as refused:
        base_url(rest_host)

    assert SECRET_PART not in str(refused.value)


def test_a_masked_body_keeps_three_characters_of_a_long_key_and_none_of_a_short_one():
    prepared = prepare_recall(target=Group("g"), timestamps=[NOW])

    assert prepared.shown(KEY) == {"appkey": "BC-" + MASK, "groupId": "g", "messages": [NOW]}
    assert json.loads(prepared.content(KEY))["appkey"] == KEY
    assert prepared.shown("BC-12345678")["appkey"] == MASK


@pytest.mark.parametrize(
    "prepared",
    [
        prepare_recall(target=Group('组"\\\u2028'), timestamps=[NOW], recaller=Recaller("客服", {"name": '"•••"'})),
        prepare_send(sender_id="s", to=("group", "g"), type="order", payload={"appkey": "•••", "n": 1.0}),
    ],
)
def test_a_prepared_call_is_sent_byte_for_byte_with_the_key_in_its_place(
    server: Server, goeasy: Client, prepared: PreparedCall
):
    server.answers_with(http(OK))

    goeasy.perform(prepared)

    head, _, body = server.requests[-1].partition(b"\r\n\r\n")
    assert head.startswith(f"POST {prepared.path} ".encode())
    assert body == prepared.content(KEY)
    assert body == prepared.body.replace('"•••"', f'"{KEY}"', 1).encode()
    assert KEY not in prepared.body


def test_a_prepared_body_without_a_place_for_the_key_is_never_sent(server: Server, goeasy: Client):
    for body in ("", "{}", '{"x":1,"appkey":"•••"}', '{"appkey":"BC-•••","x":1}'):
        with pytest.raises(InvalidCall) as refused:
            goeasy.perform(PreparedCall("POST", "/v2/im/history/recall", body))
        assert refused.value.field == "appkey"

    assert server.requests == []


@pytest.mark.parametrize("depth", [101, 900, 20_000])
def test_deeply_nested_recaller_data_is_refused(depth: int) -> None:
    data: dict[str, Any] = {}
    for _level in range(depth):
        data = {"a": data}
    with pytest.raises(InvalidCall, match="nests too deeply"):
        Recaller("support", data)
