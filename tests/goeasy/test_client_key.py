"""The key appears in no exception, log or repr of the GoEasy client."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from moderation.goeasy.client import MASK, Client, Group
from moderation.goeasy.errors import GoEasyError, NotSent, Refused
from tests.goeasy.client_helpers import (
    KEY,
    NOW,
    SECRET_PART,
    error_page_content,
    impatient_client,
    never_answer,
    recall,
)
from tests.goeasy.raw_server import Handler, Server, http, reset

OUTCOMES: dict[str, Handler] = {
    "accepted": lambda connection, request: http(b'{"code":200,"content":[]}'),
    "refused": lambda connection, request: http(b'{"code":401,"content":"bad key ' + KEY.encode() + b'"}'),
    "refused without a code": lambda connection, request: http(request, "400 Bad Request"),
    "unclear": lambda connection, request: http(request),
    "redirected": lambda connection, request: http(b"", "302 Found", f"Location: /x?appkey={KEY}"),
    "lost": lambda connection, request: None,
    "reset": lambda connection, request: reset(connection),
    "silent": never_answer,
    "half": lambda connection, request: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
    "broken head": lambda connection, request: b"HTTP/1.1 200 OK\r\nbroken " + request + http(b"")[17:],
    "not HTTP": lambda connection, request: connection.sendall(request),
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
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_key_is_in_no_exception_log_or_repr(
    server: Server, caplog: pytest.LogCaptureFixture, outcome: str, call: str
):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3")
    server.handler = OUTCOMES[outcome]

    with impatient_client(server) as client:
        shown = f"{client!r} {client} {vars(client)!r}"
        try:
            shown += repr(CALLS[call](client))
        except GoEasyError as error:
            assert error.__cause__ is None
            assert error.__context__ is None
            shown += error_page_content(error)

    assert SECRET_PART in server.requests[-1].decode()
    assert SECRET_PART not in shown
    assert SECRET_PART not in caplog.text
    assert not [record for record in caplog.records if SECRET_PART in f"{record.msg} {record.args}"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://127.0.0.1:9", "http://nothing.invalid"])
def test_the_key_is_in_no_exception_or_log_when_nothing_was_sent(caplog: pytest.LogCaptureFixture, url: str):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3")

    with Client(appkey=KEY, rest_host=url) as client, pytest.raises(NotSent) as problem:
        client.history(target=Group("g"))

    assert problem.value.__cause__ is None
    assert problem.value.__context__ is None
    assert SECRET_PART not in error_page_content(problem.value)
    assert SECRET_PART not in caplog.text


def test_urllib3_logs_the_request_with_a_masked_key(server: Server, goeasy: Client, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, logger="urllib3")
    server.answers_with(http(b'{"code":200,"content":[]}', "200 OK", "Fine: yes", "broken header"))

    goeasy.history(target=Group("g"))

    assert f"appkey={MASK}&groupId=g" in caplog.text
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "Failed to parse headers"
    ]


def test_an_echoed_key_is_masked_in_the_answer(server: Server, goeasy: Client):
    server.answers_with(http(b'{"code":401,"content":"unknown key ' + KEY.encode() + b'"}'))

    with pytest.raises(Refused) as refused:
        recall(goeasy)

    assert refused.value.answer.content == f"unknown key BC-{MASK}"
