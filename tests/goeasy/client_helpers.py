"""Helpers for the tests of the GoEasy client."""

from __future__ import annotations

import traceback
from socket import socket

from moderation.goeasy.client import Answer, Client, Group
from tests.goeasy.raw_server import Server

KEY = "BC-0123456789abcdef"
NOW = 1_700_000_000_000
# The secret part of the key; it must never appear in an error or a log.
SECRET_PART = KEY[3:]


def impatient_client(server: Server) -> Client:
    return Client(appkey=KEY, rest_host=server.url, connect_timeout=2, read_timeout=0.4)


def recall(client: Client) -> Answer:
    return client.recall(target=Group("g"), timestamps=[NOW])


def error_page_content(error: BaseException) -> str:
    """Everything that an error page could show: chain, arguments, attributes and frame variables of an exception."""
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    shown += f"{error!s} {error!r} {error.args!r} {vars(error)!r}"
    for link in (error.__cause__, error.__context__):
        if link is not None:
            shown += error_page_content(link)
    return shown


def never_answer(connection: socket, request: bytes) -> None:
    connection.recv(1)
