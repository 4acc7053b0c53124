"""Requests of the GoEasy client that get no complete answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from socket import SOL_SOCKET, create_server, socket

import pytest

from moderation.goeasy import wire
from moderation.goeasy.client import Client, Group
from moderation.goeasy.errors import NoAnswer, Unclear
from tests.goeasy.client_helpers import (
    KEY,
    impatient_client,
    never_answer,
    recall,
)
from tests.goeasy.raw_server import OK, Server, http, reset


def test_a_silent_server_causes_a_read_time_out(server: Server):
    server.handler = never_answer

    with impatient_client(server) as client, pytest.raises(NoAnswer) as problem:
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
def test_an_answer_in_slow_bytes_does_not_outlast_the_read_time_out(server: Server, answer: bytes, status: int | None):
    def drip(connection: socket, request: bytes) -> None:
        head = answer.find(b"\r\n\r\n") + 4 if status else 0
        connection.sendall(answer[:head])
        for byte in answer[head:]:
            connection.sendall(bytes([byte]))
            time.sleep(0.1)

    server.handler = drip

    with impatient_client(server) as client, pytest.raises(NoAnswer) as problem:
        recall(client)

    assert problem.value.kind == "read_timeout"
    assert problem.value.http_status == status
    assert 300 <= (problem.value.latency_ms or 0) < 2_000


@pytest.mark.parametrize(
    ("answer", "status"),
    [(b"HTTP/1.1 200 OK\r\nX-Half: ", None), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200)],
)
def test_a_stalled_answer_does_not_restart_the_read_time_out(server: Server, answer: bytes, status: int | None):
    def drip_and_stall(connection: socket, request: bytes) -> None:
        connection.sendall(answer)
        for _ in range(2):
            time.sleep(0.25)
            connection.sendall(b"y")
        never_answer(connection, request)

    server.handler = drip_and_stall

    client = Client(appkey=KEY, rest_host=server.url, connect_timeout=2, read_timeout=0.6)
    with client, pytest.raises(NoAnswer) as problem:
        recall(client)

    assert problem.value.kind == "read_timeout"
    assert problem.value.http_status == status
    # The last byte arrives after 0.5 s: a restarted time-out would end after 1.1 s.
    assert 500 <= (problem.value.latency_ms or 0) < 950


def test_a_slow_answer_within_the_read_time_out_is_read(server: Server):
    def slowly(connection: socket, request: bytes) -> bytes:
        answer = http(OK)
        connection.sendall(answer[:30])
        time.sleep(0.15)
        return answer[30:]

    server.handler = slowly

    with impatient_client(server) as client:
        # Twice on one connection: each call has its own time-out.
        assert recall(client).accepted
        assert recall(client).accepted
        assert server.connections == 1


@pytest.mark.parametrize("end", [socket.close, reset])
def test_a_connection_lost_after_the_request_means_no_answer(server: Server, end: Callable[[socket], None]):
    server.handler = lambda connection, request: end(connection)

    with impatient_client(server) as client, pytest.raises(NoAnswer) as problem:
        recall(client)

    assert problem.value.kind == "connection_lost"
    assert problem.value.http_status is None
    assert len(server.requests) == 1


def test_a_connection_lost_during_the_request_means_no_answer():
    with create_server(("127.0.0.1", 0)) as listener:

        def read_a_little() -> None:
            connection = listener.accept()[0]
            connection.recv(10)
            reset(connection)

        threading.Thread(target=read_a_little, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = Client(appkey=KEY, rest_host=url, connect_timeout=2, read_timeout=2)
        with client, pytest.raises(NoAnswer):
            # Larger than the system's buffers, so that it cannot leave completely.
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
def test_an_incomplete_answer_means_no_answer(server: Server, goeasy: Client, answer: bytes, status: int | None):
    server.closes_after(answer)

    with pytest.raises(NoAnswer) as problem:
        recall(goeasy)

    assert problem.value.kind == "broken_answer"
    assert problem.value.http_status == status
    assert not isinstance(problem.value, Unclear)


def test_a_chunked_answer_is_read(server: Server, goeasy: Client):
    server.answers_with(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1b\r\n" + OK + b"\r\n0\r\n\r\n")

    assert recall(goeasy).accepted


def test_an_answer_that_ends_with_the_connection_is_read(server: Server, goeasy: Client):
    server.closes_after(b"HTTP/1.0 200 OK\r\n\r\n" + OK)

    assert recall(goeasy).accepted


@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error", "302 Found"])
@pytest.mark.parametrize("framing", ["Content-Length: 10000000", "X-Until: the end"])
def test_reading_stops_at_the_size_limit(server: Server, goeasy: Client, status: str, framing: str):
    sent = threading.Event()
    left: list[int] = []

    def flood(connection: socket, request: bytes) -> None:
        # With a small buffer, the server can send only slightly more than the client has read.
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


def test_an_answer_of_the_maximum_size_is_read(server: Server, goeasy: Client):
    server.answers_with(http(OK[:-1] + b" " * (wire.MAX_ANSWER_BYTES - len(OK)) + b"}"))

    assert recall(goeasy).accepted


def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(server: Server, other_server: Server, goeasy: Client):
    for status in ("301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"):
        server.answers_with(http(b"", status, f"Location: {other_server.url}/v2/im/history"))
        with pytest.raises(Unclear):
            recall(goeasy)
        with pytest.raises(Unclear):
            goeasy.history(target=Group("g"))

    assert len(server.requests) == 8
    assert other_server.connections == 0
