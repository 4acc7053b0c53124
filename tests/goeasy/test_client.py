"""The GoEasy client against a real server on a real socket, that does what servers and networks do."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import ipaddress
import json
import logging
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import SOL_SOCKET, create_server, socket
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from moderation.goeasy import wire
from moderation.goeasy.answers import parse_retry_after
from moderation.goeasy.client import (
    MASK,
    REGIONS,
    Answer,
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
from moderation.goeasy.destinations import AllowedHosts
from moderation.goeasy.errors import GoEasyError, InvalidCall, NoAnswer, NotSent, Refused, Unclear
from tests.goeasy.raw_server import OK, Handler, Server, http, reset

KEY = "BC-0123456789abcdef"
NOW = 1_700_000_000_000
# Of the key, whatever of it would already be too much.
CANARY = KEY[3:]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.listener.close()


@pytest.fixture
def other_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.listener.close()


@pytest.fixture
def goeasy(server: Server) -> Iterator[Client]:
    with Client(appkey=KEY, rest_host=server.url, connect_timeout=2, read_timeout=2) as client:
        yield client


def hurried(server: Server) -> Client:
    return Client(appkey=KEY, rest_host=server.url, connect_timeout=2, read_timeout=0.4)


def recall(client: Client) -> Answer:
    return client.recall(target=Group("g"), timestamps=[NOW])


def all_that_an_error_page_could_show(error: BaseException) -> str:
    """Everything reachable from an exception: its chain, arguments, attributes and the variables of its frames."""
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    shown += f"{error!s} {error!r} {error.args!r} {vars(error)!r}"
    for link in (error.__cause__, error.__context__):
        if link is not None:
            shown += all_that_an_error_page_could_show(link)
    return shown


# What is sent


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
    assert (answer.http_status, answer.code, answer.content, answer.nonsense) == (200, 200, "OK", False)
    assert answer.accepted
    assert 0 <= answer.latency_ms < 2_000


@pytest.mark.parametrize("recaller", [None, Recaller(), Recaller(data={}), Recaller("", None)])
def test_an_empty_recaller_is_left_out(server: Server, goeasy: Client, recaller: Recaller | None):
    goeasy.recall(target=Group("g:1"), timestamps=[NOW], recaller=recaller)

    assert json.loads(server.body) == {"appkey": KEY, "groupId": "g:1", "messages": [NOW]}


def test_a_recaller_may_have_an_id_or_data_alone():
    assert Recaller("mod").as_field() == {"id": "mod"}
    assert Recaller(data={"name": "M"}).as_field() == {"data": {"name": "M"}}


def test_history_asks_in_the_query_and_any_id_arrives_whole(server: Server, goeasy: Client):
    server.says(http(b'{"code":200,"content":[]}'))

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


def test_history_without_a_cursor_asks_for_the_newest_30(server: Server, goeasy: Client):
    server.says(http(b'{"code":200,"content":[]}'))

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


def test_send_leaves_out_what_is_not_given(server: Server, goeasy: Client):
    goeasy.send(sender_id="s", to=("private", "u"), type="order", payload="text")

    assert json.loads(server.body) == {
        "appkey": KEY,
        "senderId": "s",
        "to": {"type": "private", "id": "u"},
        "type": "order",
        "payload": "text",
    }


# Payload rules: refused before the network

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
def test_what_breaks_a_rule_is_refused_with_its_field_and_nothing_is_sent(
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
    assert CANARY not in all_that_an_error_page_could_show(refused.value)


def test_what_is_just_within_the_rules_passes(server: Server, goeasy: Client):
    goeasy.recall(target=Group("x" * 255), timestamps=range(NOW, NOW + 20))
    goeasy.recall(target=Private("same", "same"), timestamps=[int(time.time() * 1000) + 86_000_000])
    goeasy.recall(target=Group("g"), timestamps=[NOW], recaller=Recaller(data={"n": "x" * (2048 - 8)}))
    Recaller(data={"n": "\\u0000 is text here"})
    goeasy.send(sender_id="s", to=("group", "g"), type="text", payload={"text": "字" * 1024})

    assert len(server.requests) == 4


@pytest.mark.parametrize("appkey", ["", " ", "BC-密", "BC\n0123456789"])
def test_a_key_that_is_none_is_never_sent(server: Server, appkey: str):
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
def test_a_timestamps_problem_has_a_code(value: object, problem: str | None):
    assert timestamp_problem(value, now_ms=NOW) == problem


def test_the_limit_of_timestamps_can_be_another():
    assert len(check_timestamps(range(NOW, NOW + 30), now_ms=NOW, limit=30)) == 30


def test_an_endless_row_of_timestamps_is_refused_at_once():
    def endless() -> Iterator[int]:
        value = NOW
        while True:
            yield value
            value -= 1

    with pytest.raises(InvalidCall):
        check_timestamps(endless(), now_ms=NOW)


# Names


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
def test_a_rest_host_that_is_none_is_named_in_a_sentence(rest_host: str):
    with pytest.raises(ValueError) as refused:
        base_url(rest_host)

    named = rest_host.partition("?")[0].partition("#")[0]
    assert f"“{named}”" in str(refused.value)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    "rest_host", [f"https://user:{KEY}@goeasy.example", f"https://x.example/v2?appkey={KEY}", f"x.example#{KEY}"]
)
def test_a_secret_in_a_rest_host_is_not_repeated(rest_host: str):
    with pytest.raises(ValueError) as refused:
        base_url(rest_host)

    assert CANARY not in str(refused.value)


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
    server.says(http(OK))

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


# Answers


@pytest.mark.parametrize(
    ("answer", "code", "content"),
    [
        (http(b'{"code":401,"content":"Unauthorized"}', "401 Unauthorized"), 401, "Unauthorized"),
        (http(b'{"code":401,"content":"Unauthorized"}'), 401, "Unauthorized"),
        (http(b'{"code":"409","content":{"why":"\xe6\x9c\x9f"}}'), 409, '{"why":"期"}'),
        (http(b'{"code":400}', "502 Bad Gateway"), 400, '{"code":400}'),
        (http(b"<html>no</html>", "403 Forbidden"), None, "<html>no</html>"),
        (http(b"", "499 Client Closed Request"), None, ""),
        (http(b"no", "503 Service Unavailable"), None, "no"),
        (http(b'{"code":200.5}', "404 Not Found"), None, '{"code":200.5}'),
        (http(b'{"code":400,"content":"a\\u0000b\\ud800"}'), 400, "a\ufffdb\ufffd"),
        (http(b'{"code":400,"content":"' + b"x" * 3_000 + b'"}'), 400, "x" * 2_000),
    ],
)
def test_a_refusal_is_told_with_its_code(server: Server, goeasy: Client, answer: bytes, code: int | None, content: str):
    server.says(answer)

    with pytest.raises(Refused) as refused:
        recall(goeasy)

    assert refused.value.kind == "refused"
    assert refused.value.answer.http_status == int(answer[9:12])
    assert refused.value.answer.code == code
    assert refused.value.answer.content == content
    assert refused.value.answer.nonsense == (code is None)
    assert refused.value.latency_ms == refused.value.answer.latency_ms
    assert refused.value.retry_after is None


@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error", "502 Bad Gateway", "302 Found"])
def test_code_200_is_accepted_whatever_the_http_status(server: Server, goeasy: Client, status: str):
    server.says(http(b'\xef\xbb\xbf{"code":"200","content":"OK"}', status))

    assert recall(goeasy).accepted


@pytest.mark.parametrize(
    "answer",
    [
        http(b""),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        http(b'{"code":20'),
        http(b'{"content":"OK"}'),
        http(b'["code", 200]'),
        http(b'{"code":true}'),
        http(b"<html>welcome to this captive portal</html>"),
        http(b"[" * 100_000),
        http(b"\xff\xfe\x00"),
        http(b"Bad Gateway", "502 Bad Gateway"),
        http(b"Gateway Timeout", "504 Gateway Timeout"),
        http(b"", "524 A Timeout Occurred"),
        http(b"{}", "500 Internal Server Error"),
        http(b'{"content":"later"}', "501 Not Implemented"),
        http(b"", "505 HTTP Version Not Supported"),
        http(b"", "599 Whatever"),
        http(b"", "408 Request Timeout"),
        http(b"", "301 Moved Permanently", "Location: /elsewhere"),
    ],
)
def test_an_answer_that_tells_nothing_is_unclear(server: Server, goeasy: Client, answer: bytes):
    server.says(answer)

    with pytest.raises(Unclear) as unclear:
        recall(goeasy)

    assert isinstance(unclear.value, NoAnswer)
    assert unclear.value.kind == "unclear"
    assert unclear.value.answer.http_status == unclear.value.http_status == int(answer[9:12])
    assert unclear.value.answer.code is None
    assert unclear.value.answer.nonsense


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "408 Request Timeout", "503 Service Unavailable"])
@pytest.mark.parametrize("code", [408, 500, 503, 507, 599])
def test_a_failure_of_goeasys_own_does_not_tell_whether_it_acted(
    server: Server, goeasy: Client, code: int, status: str
):
    server.says(http(b'{"code":%d,"content":"Host unreachable or timeout"}' % code, status))

    with pytest.raises(Unclear) as unclear:
        recall(goeasy)

    assert unclear.value.kind == "failed"
    assert unclear.value.answer.code == code
    assert unclear.value.answer.content == "Host unreachable or timeout"


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_refusal_tells_how_long_to_wait(server: Server, goeasy: Client, status: str):
    server.says(http(b"later", status, "Retry-After: 7"))

    with pytest.raises(Refused) as refused:
        recall(goeasy)

    assert refused.value.retry_after == 7.0


def test_a_retry_after_may_be_a_date():
    in_a_minute = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
    assert 58 <= (parse_retry_after(email.utils.format_datetime(in_a_minute, usegmt=True)) or 0) <= 60
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    for junk in (None, "", "soon", "-1", "1e3", "nan", "9" * 400, "Wed, 99 Foo 20155 99:99:99"):
        assert parse_retry_after(junk) is None


# History


def test_history_gives_each_message_as_the_exact_text_that_goeasy_wrote(server: Server, goeasy: Client):
    first = '{"timestamp": 1594958217087,\n "payload":{"text":"\\u4f60\\u597d 🙂"}, "n": 1.0e2, "n": 1.50}'
    second = '{"payload":"\\ud83d \\u0000","x":[{"content":[1]}]}'
    text = (
        f'{{"content":"not this","extra":{{"content":[0]}},"code":200,"\\u0063ontent" : [ {first} ,{second}, 5,"s" ]}}'
    )
    server.says(http(text.encode()))

    page = goeasy.history(target=Group("g"))

    assert [message.raw for message in page.messages] == [first, second]
    assert page.messages[0].data == {"timestamp": 1594958217087, "payload": {"text": "你好 🙂"}, "n": 1.5}
    assert page.unreadable == ("5", '"s"')
    assert page.answer.accepted


@pytest.mark.parametrize("content", ["null", '"OK"', "{}", '[],"content":null'])
def test_history_without_a_list_of_messages_is_unclear(server: Server, goeasy: Client, content: str):
    server.says(http(b'{"code":200,"content":' + content.encode() + b"}"))

    with pytest.raises(Unclear):
        goeasy.history(target=Group("g"))


def test_history_refused_is_told_with_its_code(server: Server, goeasy: Client):
    server.says(http(b'{"code":401,"content":"Unauthorized"}'))

    with pytest.raises(Refused) as refused:
        goeasy.history(target=Group("g"))

    assert refused.value.answer.code == 401


# Not sent


def test_a_name_that_nobody_has_means_not_sent():
    allowed = AllowedHosts.parse("nothing.invalid")
    client = Client(appkey=KEY, rest_host="https://nothing.invalid", allowed_hosts=allowed)
    with client, pytest.raises(NotSent) as problem:
        recall(client)

    assert problem.value.kind == "name_unresolved"
    assert problem.value.latency_ms is not None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_port_where_nobody_listens_means_not_sent(scheme: str):
    with create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with Client(appkey=KEY, rest_host=f"{scheme}://127.0.0.1:{port}") as client, pytest.raises(NotSent) as problem:
        recall(client)

    assert problem.value.kind == "connection_refused"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_host_that_takes_no_connection_in_time_means_not_sent(scheme: str):
    with create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as others:
        # A full backlog: the system drops further handshakes without a word.
        for _ in range(2):
            other = others.enter_context(socket())
            other.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                other.connect(listener.getsockname())
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        client = Client(appkey=KEY, rest_host=url, connect_timeout=0.3)
        with client, pytest.raises(NotSent) as problem:
            recall(client)

    assert problem.value.kind == "connect_timeout"


def test_a_tls_handshake_that_never_ends_means_not_sent():
    with create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        client = Client(appkey=KEY, rest_host=url, connect_timeout=0.3)
        with client, pytest.raises(NotSent) as problem:
            recall(client)

    assert problem.value.kind == "connect_timeout"


def test_a_host_that_speaks_no_tls_means_not_sent():
    with create_server(("127.0.0.1", 0)) as plain:

        def speak() -> None:
            connection = plain.accept()[0]
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=speak, daemon=True).start()
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"
        client = Client(appkey=KEY, rest_host=url, connect_timeout=2)
        with client, pytest.raises(NotSent) as problem:
            recall(client)

    assert problem.value.kind == "tls_failed"


# No answer


def wait_for_ever(connection: socket, request: bytes) -> None:
    connection.recv(1)


def test_silence_ends_with_the_read_time_out(server: Server):
    server.handler = wait_for_ever

    with hurried(server) as client, pytest.raises(NoAnswer) as problem:
        recall(client)

    assert problem.value.kind == "read_timeout"
    assert problem.value.http_status is None
    assert 300 <= (problem.value.latency_ms or 0) < 2_000
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 100, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b" " * 100, 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 100, 200),
    ],
)
def test_a_slow_drip_does_not_outlast_the_read_time_out(server: Server, answer: bytes, status: int | None):
    def drip(connection: socket, request: bytes) -> None:
        head = answer.find(b"\r\n\r\n") + 4 if status else 0
        connection.sendall(answer[:head])
        for byte in answer[head:]:
            connection.sendall(bytes([byte]))
            time.sleep(0.1)

    server.handler = drip

    with hurried(server) as client, pytest.raises(NoAnswer) as problem:
        recall(client)

    assert problem.value.kind == "read_timeout"
    assert problem.value.http_status == status
    assert 300 <= (problem.value.latency_ms or 0) < 2_000


@pytest.mark.parametrize(
    ("answer", "status"),
    [(b"HTTP/1.1 200 OK\r\nX-Half: ", None), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200)],
)
def test_a_drip_that_stalls_does_not_begin_the_read_time_out_again(server: Server, answer: bytes, status: int | None):
    def drip_and_stall(connection: socket, request: bytes) -> None:
        connection.sendall(answer)
        for _ in range(2):
            time.sleep(0.25)
            connection.sendall(b"y")
        wait_for_ever(connection, request)

    server.handler = drip_and_stall

    client = Client(appkey=KEY, rest_host=server.url, connect_timeout=2, read_timeout=0.6)
    with client, pytest.raises(NoAnswer) as problem:
        recall(client)

    assert problem.value.kind == "read_timeout"
    assert problem.value.http_status == status
    # The last byte comes after 0.5 s: a time-out that began again with it would end after 1.1 s.
    assert 500 <= (problem.value.latency_ms or 0) < 950


def test_an_answer_that_takes_its_time_but_ends_in_time_is_read(server: Server):
    def slowly(connection: socket, request: bytes) -> bytes:
        answer = http(OK)
        connection.sendall(answer[:30])
        time.sleep(0.15)
        return answer[30:]

    server.handler = slowly

    with hurried(server) as client:
        # Twice on one connection: the time-out begins anew with each call.
        assert recall(client).accepted
        assert recall(client).accepted
        assert server.connections == 1


@pytest.mark.parametrize("end", [socket.close, reset])
def test_a_connection_lost_after_the_request_means_no_answer(server: Server, end: Callable[[socket], None]):
    server.handler = lambda connection, request: end(connection)

    with hurried(server) as client, pytest.raises(NoAnswer) as problem:
        recall(client)

    assert problem.value.kind == "connection_lost"
    assert problem.value.http_status is None
    assert len(server.requests) == 1


def test_a_connection_lost_in_the_midst_of_the_request_means_no_answer():
    with create_server(("127.0.0.1", 0)) as listener:

        def read_a_little() -> None:
            connection = listener.accept()[0]
            connection.recv(10)
            reset(connection)

        threading.Thread(target=read_a_little, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = Client(appkey=KEY, rest_host=url, connect_timeout=2, read_timeout=2)
        with client, pytest.raises(NoAnswer):
            # Larger than the system's buffers: it cannot have left as a whole.
            client.send(sender_id="s", to=("group", "g"), type="custom", payload={"x": "y" * 3_000_000})


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n" + OK[:12], 200),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 27\r\n\r\n", 401),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1b\r\n" + OK, 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + OK, 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + OK, 200),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 27\r\n\r\n" + OK, 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 27, 28\r\n\r\n" + OK, None),
        (b"SSH-2.0-OpenSSH_9.6\r\n", None),
        (b"HTTP/1.1 ", None),
        (b"\x00" * 100, None),
    ],
)
def test_half_an_answer_is_no_answer(server: Server, goeasy: Client, answer: bytes, status: int | None):
    server.hangs_up_after(answer)

    with pytest.raises(NoAnswer) as problem:
        recall(goeasy)

    assert problem.value.kind == "broken_answer"
    assert problem.value.http_status == status
    assert not isinstance(problem.value, Unclear)


def test_an_answer_in_chunks_is_read(server: Server, goeasy: Client):
    server.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1b\r\n" + OK + b"\r\n0\r\n\r\n")

    assert recall(goeasy).accepted


def test_an_answer_that_ends_with_the_connection_is_read(server: Server, goeasy: Client):
    server.hangs_up_after(b"HTTP/1.0 200 OK\r\n\r\n" + OK)

    assert recall(goeasy).accepted


@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error", "302 Found"])
@pytest.mark.parametrize("framing", ["Content-Length: 10000000", "X-Until: the end"])
def test_of_ten_megabytes_no_more_than_one_is_read(server: Server, goeasy: Client, status: str, framing: str):
    sent = threading.Event()
    left: list[int] = []

    def flood(connection: socket, request: bytes) -> None:
        # A little buffer: what the server could send is what the client has read, nearly.
        connection.setsockopt(SOL_SOCKET, 7, 65536)
        try:
            connection.sendall(f"HTTP/1.1 {status}\r\n{framing}\r\nLocation: /x\r\n\r\n".encode())
            for number in range(1_000):
                left.append(number)
                connection.sendall(b"<p>html</p>" + b" " * 9_989)
        finally:
            sent.set()

    server.handler = flood

    with pytest.raises(NoAnswer) as problem:
        recall(goeasy)

    assert problem.value.kind == "oversize"
    assert problem.value.http_status == int(status[:3])
    assert sent.wait(5)
    assert left[-1] < 999


def test_one_mebibyte_is_read(server: Server, goeasy: Client):
    server.says(http(OK[:-1] + b" " * (wire.MAX_ANSWER_BYTES - len(OK)) + b"}"))

    assert recall(goeasy).accepted


def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(server: Server, other_server: Server, goeasy: Client):
    for status in ("301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"):
        server.says(http(b"", status, f"Location: {other_server.url}/v2/im/history"))
        with pytest.raises(Unclear):
            recall(goeasy)
        with pytest.raises(Unclear):
            goeasy.history(target=Group("g"))

    assert len(server.requests) == 8
    assert other_server.connections == 0


# Connections


def test_connections_are_kept_and_shared_by_threads(server: Server, goeasy: Client):
    for _ in range(3):
        recall(goeasy)
    assert server.connections == 1

    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(recall(goeasy))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(answers) == 12
    assert len(server.requests) == 15


def test_a_connection_that_the_server_closed_is_replaced_before_anything_leaves(server: Server, goeasy: Client):
    server.hangs_up_after(http(OK))
    for _ in range(3):
        assert recall(goeasy).accepted
        time.sleep(0.05)

    assert len(server.requests) == 3


def test_a_connection_that_rested_too_long_is_not_trusted(
    server: Server, goeasy: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wire, "MAX_IDLE_SECONDS", 0.05)
    recall(goeasy)
    time.sleep(0.1)
    recall(goeasy)

    assert server.connections == 2


def test_a_kept_connection_lost_as_the_request_leaves_is_unknown_and_not_sent_again(server: Server, goeasy: Client):
    recall(goeasy)
    server.handler = lambda connection, request: None

    with pytest.raises(NoAnswer):
        recall(goeasy)
    assert len(server.requests) == 2


def test_cookies_are_not_kept(server: Server, goeasy: Client):
    server.says(http(OK, "200 OK", "Set-Cookie: a=b; Path=/"))
    recall(goeasy)
    recall(goeasy)

    assert b"cookie" not in server.requests[1].lower()


def test_a_closed_client_leaves_no_connection_open(server: Server):
    with Client(appkey=KEY, rest_host=server.url) as client:
        recall(client)
        assert not server.hung_up.is_set()

    assert server.hung_up.wait(2)


# The environment


def test_a_netrc_is_not_used(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Client(appkey=KEY, rest_host=server.url) as client:
        recall(client)

    assert b"authorization" not in server.requests[0].lower()


def test_a_loopback_address_is_reached_without_the_proxy(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Client(appkey=KEY, rest_host=server.url) as client:
        assert recall(client).accepted


@pytest.mark.parametrize(
    ("answer", "kind"), [(None, "unreachable"), (http(b"", "407 Proxy Authentication Required"), "proxy_failed")]
)
def test_a_proxy_that_opens_no_tunnel_means_not_sent(
    server: Server, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, kind: str
):
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    server.handler = lambda connection, request: answer
    allowed = AllowedHosts.parse("goeasy.example")
    client = Client(appkey=KEY, rest_host="https://goeasy.example", allowed_hosts=allowed)
    with client, pytest.raises(NotSent) as problem:
        recall(client)

    assert server.line.startswith("CONNECT goeasy.example:443 ")
    assert problem.value.kind == kind


def test_a_proxy_that_is_not_there_means_not_sent(monkeypatch: pytest.MonkeyPatch):
    allowed = AllowedHosts.parse("goeasy.example")
    for proxy in ("http://127.0.0.1:9", "socks5://x:1"):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        client = Client(appkey=KEY, rest_host="https://goeasy.example", allowed_hosts=allowed)
        with client, pytest.raises(NotSent) as problem:
            recall(client)
        assert problem.value.kind in {"proxy_failed", "unreachable"}


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def secure_server(certificate: Path) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(context)
    yield server
    server.listener.close()


def test_a_certificate_that_nobody_vouches_for_means_not_sent(secure_server: Server):
    with Client(appkey=KEY, rest_host=secure_server.url) as client, pytest.raises(NotSent) as problem:
        recall(client)

    assert problem.value.kind == "tls_failed"
    assert secure_server.requests == []


def test_over_tls_an_answer_is_read_and_a_lost_one_is_unknown(
    secure_server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with Client(appkey=KEY, rest_host=secure_server.url, read_timeout=0.4) as client:
        assert recall(client).accepted

        # The connection ends without TLS's own farewell: an SSLError, but long after the handshake.
        def cut(connection: socket, request: bytes) -> None:
            connection.unwrap = None  # type: ignore[attr-defined]
            reset(connection)

        secure_server.handler = cut
        with pytest.raises(NoAnswer) as lost:
            recall(client)
        assert lost.value.kind == "connection_lost"

        secure_server.handler = wait_for_ever
        with pytest.raises(NoAnswer) as silent:
            recall(client)
        assert silent.value.kind == "read_timeout"
    assert len(secure_server.requests) == 3


def test_a_ca_bundle_that_is_not_there_means_not_sent(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/at/all.pem")
    with Client(appkey=KEY, rest_host="https://127.0.0.1:9") as client, pytest.raises(NotSent):
        recall(client)


# The key

FATES: dict[str, Handler] = {
    "accepted": lambda connection, request: http(b'{"code":200,"content":[]}'),
    "refused": lambda connection, request: http(b'{"code":401,"content":"bad key ' + KEY.encode() + b'"}'),
    "refused without a code": lambda connection, request: http(request, "400 Bad Request"),
    "unclear": lambda connection, request: http(request),
    "redirected": lambda connection, request: http(b"", "302 Found", f"Location: /x?appkey={KEY}"),
    "lost": lambda connection, request: None,
    "reset": lambda connection, request: reset(connection),
    "silent": wait_for_ever,
    "half": lambda connection, request: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
    "broken head": lambda connection, request: b"HTTP/1.1 200 OK\r\nbroken " + request + http(b"")[17:],
    "no HTTP": lambda connection, request: connection.sendall(request),
    "bad chunks": lambda connection, request: connection.sendall(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + KEY.encode() + b"\r\n"
    ),
    "two lengths": lambda connection, request: b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
}
CALLS: dict[str, Callable[[Client], Any]] = {
    "recall": recall,
    "history": lambda client: client.history(target=Group("g"), before=NOW),
    "send": lambda client: client.send(sender_id="s", to=("group", "g"), type="text", payload={"text": "x"}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fate", FATES)
def test_the_key_is_in_no_exception_log_or_repr(server: Server, caplog: pytest.LogCaptureFixture, fate: str, call: str):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3")
    server.handler = FATES[fate]

    with hurried(server) as client:
        shown = f"{client!r} {client} {vars(client)!r}"
        try:
            shown += repr(CALLS[call](client))
        except GoEasyError as error:
            assert error.__cause__ is None
            assert error.__context__ is None
            shown += all_that_an_error_page_could_show(error)

    assert CANARY in server.requests[-1].decode()
    assert CANARY not in shown
    assert CANARY not in caplog.text
    assert not [record for record in caplog.records if CANARY in f"{record.msg} {record.args}"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://127.0.0.1:9", "http://nothing.invalid"])
def test_the_key_is_in_no_exception_or_log_when_nothing_was_sent(caplog: pytest.LogCaptureFixture, url: str):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3")

    with Client(appkey=KEY, rest_host=url) as client, pytest.raises(NotSent) as problem:
        client.history(target=Group("g"))

    assert problem.value.__cause__ is None
    assert problem.value.__context__ is None
    assert CANARY not in all_that_an_error_page_could_show(problem.value)
    assert CANARY not in caplog.text


def test_urllib3_still_logs_and_masks_the_key(server: Server, goeasy: Client, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, logger="urllib3")
    server.says(http(b'{"code":200,"content":[]}', "200 OK", "Fine: yes", "broken header"))

    goeasy.history(target=Group("g"))

    assert f"appkey={MASK}&groupId=g" in caplog.text
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "Failed to parse headers"
    ]


def test_the_masked_echo_of_a_key_is_what_an_answer_keeps(server: Server, goeasy: Client):
    server.says(http(b'{"code":401,"content":"unknown key ' + KEY.encode() + b'"}'))

    with pytest.raises(Refused) as refused:
        recall(goeasy)

    assert refused.value.answer.content == f"unknown key BC-{MASK}"


@pytest.mark.parametrize("depth", [101, 900, 20_000])
def test_data_that_nests_too_deeply_is_refused_in_the_same_words_on_every_python(depth: int) -> None:
    data: dict[str, Any] = {}
    for _level in range(depth):
        data = {"a": data}
    with pytest.raises(InvalidCall, match="nests too deeply"):
        Recaller("support", data)
