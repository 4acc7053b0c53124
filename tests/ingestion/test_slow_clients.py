"""The web processes as docs/operations.md, "Install", starts them, against clients that send slowly, or not at all."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from moderation import gunicorn_worker
from moderation.archive.models import Message
from moderation.goeasy.signing import sign
from moderation.ingestion.models import FeedCount
from tests.console import free_port

from .webhooks import (
    PAGES,
    PATH,
    ROOT,
    SECRET,
    WEBHOOK,
    Gunicorn,
    Sender,
    database_url,
    message,
    signed,
)

pytestmark = pytest.mark.django_db(transaction=True)

SIGNATURE = sign(SECRET, b"whatever it is of")
# Parts of requests after which a client stops or continues byte by byte.
SLOW = {
    "nothing": b"",
    "headers": b"POST /webhooks/goeasy/default/ HTTP/1.1\r\nHost: localhost\r\nx-goeasy-sig",
    "headers of a page": b"GET /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nUser-Agent: slow",
    "body": (
        b"POST /webhooks/goeasy/default/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nx-goeasy-signature: %s\r\n\r\ncontent=%%5B"
    )
    % SIGNATURE.encode(),
    "chunked body": (
        b"POST /webhooks/goeasy/default/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"x-goeasy-signature: %s\r\n\r\n5000\r\ncontent=%%5B"
    )
    % SIGNATURE.encode(),
    "body without a signature": (
        b"POST /webhooks/goeasy/default/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\ncontent=%5B"
    ),
    "body of a page": b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\nusername=",
}


@pytest.fixture(params=[PAGES, WEBHOOK], ids=["pages", "webhook"])
def gunicorn(request: Any, application: Any) -> Iterator[Gunicorn]:
    # One process, so that every slow client occupies the same one.
    web = Gunicorn(database_url(), (*request.param, "--workers", "1"))
    web.start()
    yield web
    web.end()


@contextmanager
def slow_clients(port: int, number: int) -> Iterator[list[socket.socket]]:
    """So many connections, each of which has sent a part of a request; all kinds in turn."""
    kinds = list(SLOW.values())
    clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _client in range(number)]
    try:
        for place, client in enumerate(clients):
            client.sendall(kinds[place % len(kinds)])
        yield clients
    finally:
        for client in clients:
            client.close()


def seconds_for_healthz(port: int) -> float:
    started = time.monotonic()
    web = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    web.request("GET", "/healthz")
    assert web.getresponse().status == 200
    web.close()
    return time.monotonic() - started


def test_forty_slow_clients_delay_neither_healthz_nor_deliveries(gunicorn: Gunicorn) -> None:
    sender = Sender(gunicorn.port)
    with slow_clients(gunicorn.port, 40) as clients:
        times = []
        for number in range(1, 11):
            sender.send(signed(json.dumps(message(number)).encode()))
            times.append(seconds_for_healthz(gunicorn.port))
            # They go on, so that no time-out between two reads would end them.
            for client in clients:
                if number == 1:
                    client.send(b"0")
        assert len(sender.acknowledged) == 10
        assert (sender.given_up, sender.tried_again) == ([], 0)
        assert sorted(times)[len(times) // 2] <= 1.0
    assert Message.objects.count() == 10


def talk(port: int, *parts: bytes, until: bytes = b"", pause: float = 0.05) -> bytes:
    """What comes back for `parts`, sent one after the other: up to `until`, or until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        for part in parts:
            client.sendall(part)
            time.sleep(pause)
        answer = b""
        while not (until and answer.endswith(until)) and (piece := client.recv(4096)):
            answer += piece
    return answer


def request(content: bytes, *headers: str, signature: str | None = None, body: bytes | None = None) -> bytes:
    """A delivery as it goes over the wire; its Content-Length is not among the headers when others are given."""
    body = b"content=" + content if body is None else body
    lines = [f"POST {PATH} HTTP/1.1", "Host: localhost", "Content-Type: application/x-www-form-urlencoded"]
    lines += headers or [f"Content-Length: {len(body)}"]
    if signature != "":
        lines.append(f"x-goeasy-signature: {signature or sign(SECRET, content)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def content(number: int) -> bytes:
    """A message whose form needs no escapes."""
    return json.dumps({**message(number), "senderData": {}, "payload": "text"}, separators=(",", ":")).encode()


ACKNOWLEDGEMENT = b'{"code":200,"content":"success"}'


def test_requests_may_come_in_any_pieces_and_several_at_once(gunicorn: Gunicorn) -> None:
    one, two, three = (request(content(number)) for number in (2, 4, 8))
    pieces = [one[:3], one[3:200], one[200:] + two + three[:30], three[30:-1], three[-1:]]
    answer = b""
    with socket.create_connection(("127.0.0.1", gunicorn.port), timeout=5) as client:
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.05)
        while answer.count(ACKNOWLEDGEMENT) < 3:
            answer += client.recv(4096)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert Message.objects.count() == 3


def test_a_chunked_body_may_come_in_any_pieces(gunicorn: Gunicorn) -> None:
    signed_content = content(2)
    body = b"content=" + signed_content
    chunked = b"5;name=value\r\n" + body[:5] + b"\r\n" + b"%X\r\n" % (len(body) - 5) + body[5:] + b"\r\n"
    chunked += b"0\r\nX-Checksum: 5\r\n\r\n"
    head = request(signed_content, "Transfer-Encoding: chunked", body=b"")
    whole = head + chunked
    step = 7
    pieces = [whole[at : at + step] for at in range(len(head) - 3, len(whole), step)]
    answer = talk(gunicorn.port, whole[: len(head) - 3], *pieces, until=ACKNOWLEDGEMENT, pause=0.001)
    assert answer.endswith(ACKNOWLEDGEMENT)
    for wrong in (b"-5\r\nabcde\r\n0\r\n\r\n", b"0x5\r\nabcde\r\n0\r\n\r\n", b"5\nabcde\r\n0\r\n\r\n", b"z\r\n\r\n"):
        assert talk(gunicorn.port, head + wrong).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_waits_for_a_word_before_the_body_gets_it_once(gunicorn: Gunicorn) -> None:
    signed_content = content(2)
    body = b"content=" + signed_content
    head = request(signed_content, f"Content-Length: {len(body)}", "Expect: 100-continue", body=b"")
    answer = talk(gunicorn.port, head, body, until=ACKNOWLEDGEMENT, pause=0.3)
    assert answer.count(b"100 Continue") == 1
    assert answer.index(b"100 Continue") < answer.index(b"200 OK")


def test_a_body_that_nobody_will_read_is_not_waited_for(gunicorn: Gunicorn) -> None:
    for head, status in (
        (request(b"", "Content-Length: 5000", signature="", body=b"content="), b"401"),
        (request(b"x", "Content-Length: 90000000", body=b"content="), b"413"),
        (request(b"", "Transfer-Encoding: chunked", signature="", body=b"10\r\ncontent="), b"401"),
    ):
        answer = talk(gunicorn.port, head)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"Connection: close" in answer
    assert dict(FeedCount.objects.values_list("what", "number")) == {"unsigned": 2, "too_large": 1}


def test_a_malformed_request_is_refused(gunicorn: Gunicorn) -> None:
    for wrong, status in (
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + b"X-Long: yes\r\n" * 6_000, b"431"),
        (b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\na=b", b"413"),
    ):
        assert talk(gunicorn.port, wrong).startswith(b"HTTP/1.1 " + status)


def test_of_too_many_requests_on_their_way_the_oldest_make_room(gunicorn: Gunicorn) -> None:
    with slow_clients(gunicorn.port, 1_000):
        assert Sender(gunicorn.port).post(signed(content(2)))
        assert Sender(gunicorn.port).post(signed(content(4)))


def test_a_request_that_does_not_arrive_whole_in_time_is_ended(gunicorn: Gunicorn) -> None:
    with slow_clients(gunicorn.port, 2 * len(SLOW)) as clients:
        started, open_clients = time.monotonic(), set(clients)
        while open_clients and time.monotonic() - started < 3 * gunicorn_worker.ARRIVAL_SECONDS:
            for client in select.select(list(open_clients), [], [], 1)[0]:
                if not client.recv(4096):
                    open_clients.discard(client)
            for client in open_clients:
                with contextlib.suppress(OSError):
                    client.send(b"0")
    assert not open_clients


@contextmanager
def nginx(folder: Path, pages: int, webhook: int) -> Iterator[int]:
    """nginx with the configuration that docs/operations.md shows, without TLS; its port."""
    if not (program := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")):
        if os.environ.get("CI") == "true":
            pytest.fail("nginx is not installed")
        pytest.skip("nginx is not installed")
    port = free_port()
    shown = (ROOT / "docs" / "operations.md").read_text().split("```nginx\n")[1].split("```")[0]
    shown = re.sub(r"\n *ssl_\w+ [^;]+;", "", shown).replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    shown = shown.replace("127.0.0.1:8000", f"127.0.0.1:{pages}").replace("127.0.0.1:8001", f"127.0.0.1:{webhook}")
    paths = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = f"daemon off; pid {folder}/pid; error_log stderr; events {{}}"
    (folder / "nginx.conf").write_text(f"{head} http {{ access_log off; {paths} {shown} }}")
    process = subprocess.Popen(
        [program, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_the_documented_nginx_leads_to_both_and_keeps_slow_clients_to_itself(application: Any, tmp_path: Path) -> None:
    pages, webhook = (Gunicorn(database_url(), (*options, "--workers", "1")) for options in (PAGES, WEBHOOK))
    pages.start()
    webhook.start()
    try:
        with nginx(tmp_path, pages.port, webhook.port) as port, slow_clients(port, 40):
            sender = Sender(port)
            for number in (1, 2, 3):
                sender.send(signed(json.dumps(message(number)).encode()))
            assert (len(sender.acknowledged), sender.tried_again) == (3, 0)
            assert seconds_for_healthz(port) <= gunicorn_worker.ARRIVAL_SECONDS
            # A page comes from the pages' processes: the webhook's has none.
            page = b"GET /accounts/login/ HTTP/1.0\r\nHost: localhost\r\n\r\n"
            assert b" 200 OK" in talk(port, page)
            assert b" 404 Not Found" in talk(webhook.port, page)
    finally:
        pages.end()
        webhook.end()
