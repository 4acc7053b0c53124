"""How the GoEasy client reads answers and pages of history."""

from __future__ import annotations

import datetime
import email.utils

import pytest

from moderation.goeasy.answers import parse_retry_after
from moderation.goeasy.client import Client, Group
from moderation.goeasy.errors import NoAnswer, Refused, Unclear
from tests.goeasy.client_helpers import (
    recall,
)
from tests.goeasy.raw_server import Server, http


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
def test_a_refusal_has_the_code_of_the_answer(
    server: Server, goeasy: Client, answer: bytes, code: int | None, content: str
):
    server.answers_with(answer)

    with pytest.raises(Refused) as refused:
        recall(goeasy)

    assert refused.value.kind == "refused"
    assert refused.value.answer.http_status == int(answer[9:12])
    assert refused.value.answer.code == code
    assert refused.value.answer.content == content
    assert refused.value.answer.is_malformed == (code is None)
    assert refused.value.latency_ms == refused.value.answer.latency_ms
    assert refused.value.retry_after is None


@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error", "502 Bad Gateway", "302 Found"])
def test_code_200_is_accepted_whatever_the_http_status(server: Server, goeasy: Client, status: str):
    server.answers_with(http(b'\xef\xbb\xbf{"code":"200","content":"OK"}', status))

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
def test_an_inconclusive_answer_is_unclear(server: Server, goeasy: Client, answer: bytes):
    server.answers_with(answer)

    with pytest.raises(Unclear) as unclear:
        recall(goeasy)

    assert isinstance(unclear.value, NoAnswer)
    assert unclear.value.kind == "unclear"
    assert unclear.value.answer.http_status == unclear.value.http_status == int(answer[9:12])
    assert unclear.value.answer.code is None
    assert unclear.value.answer.is_malformed


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "408 Request Timeout", "503 Service Unavailable"])
@pytest.mark.parametrize("code", [408, 500, 503, 507, 599])
def test_a_failure_of_goeasy_is_unclear(server: Server, goeasy: Client, code: int, status: str):
    server.answers_with(http(b'{"code":%d,"content":"Host unreachable or timeout"}' % code, status))

    with pytest.raises(Unclear) as unclear:
        recall(goeasy)

    assert unclear.value.kind == "failed"
    assert unclear.value.answer.code == code
    assert unclear.value.answer.content == "Host unreachable or timeout"


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_refusal_has_the_seconds_to_wait(server: Server, goeasy: Client, status: str):
    server.answers_with(http(b"later", status, "Retry-After: 7"))

    with pytest.raises(Refused) as refused:
        recall(goeasy)

    assert refused.value.retry_after == 7.0


def test_a_retry_after_may_be_a_date():
    in_a_minute = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
    assert 58 <= (parse_retry_after(email.utils.format_datetime(in_a_minute, usegmt=True)) or 0) <= 60
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    for junk in (None, "", "soon", "-1", "1e3", "nan", "9" * 400, "Wed, 99 Foo 20155 99:99:99"):
        assert parse_retry_after(junk) is None


def test_history_returns_the_exact_text_of_each_message(server: Server, goeasy: Client):
    first = '{"timestamp": 1594958217087,\n "payload":{"text":"\\u4f60\\u597d 🙂"}, "n": 1.0e2, "n": 1.50}'
    second = '{"payload":"\\ud83d \\u0000","x":[{"content":[1]}]}'
    text = (
        f'{{"content":"not this","extra":{{"content":[0]}},"code":200,"\\u0063ontent" : [ {first} ,{second}, 5,"s" ]}}'
    )
    server.answers_with(http(text.encode()))

    page = goeasy.history(target=Group("g"))

    assert [message.raw for message in page.messages] == [first, second]
    assert page.messages[0].data == {"timestamp": 1594958217087, "payload": {"text": "你好 🙂"}, "n": 1.5}
    assert page.unreadable == ("5", '"s"')
    assert page.answer.accepted


@pytest.mark.parametrize("content", ["null", '"OK"', "{}", '[],"content":null'])
def test_history_without_a_list_of_messages_is_unclear(server: Server, goeasy: Client, content: str):
    server.answers_with(http(b'{"code":200,"content":' + content.encode() + b"}"))

    with pytest.raises(Unclear):
        goeasy.history(target=Group("g"))


def test_a_refused_history_has_the_code_of_the_answer(server: Server, goeasy: Client):
    server.answers_with(http(b'{"code":401,"content":"Unauthorized"}'))

    with pytest.raises(Refused) as refused:
        goeasy.history(target=Group("g"))

    assert refused.value.answer.code == 401
