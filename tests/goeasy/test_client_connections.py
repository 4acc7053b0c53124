"""Connections of the GoEasy client: failures to connect, reuse, proxies and TLS."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from socket import create_server, socket

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from moderation.goeasy import wire
from moderation.goeasy.client import Answer, Client
from moderation.goeasy.destinations import AllowedHosts
from moderation.goeasy.errors import NoAnswer, NotSent
from tests.goeasy.client_helpers import (
    KEY,
    never_answer,
    recall,
)
from tests.goeasy.raw_server import OK, Server, http, reset


def test_an_unresolvable_name_means_not_sent():
    allowed = AllowedHosts.parse("nothing.invalid")
    client = Client(appkey=KEY, rest_host="https://nothing.invalid", allowed_hosts=allowed)
    with client, pytest.raises(NotSent) as problem:
        recall(client)

    assert problem.value.kind == "name_unresolved"
    assert problem.value.latency_ms is not None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_refused_connection_means_not_sent(scheme: str):
    with create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with Client(appkey=KEY, rest_host=f"{scheme}://127.0.0.1:{port}") as client, pytest.raises(NotSent) as problem:
        recall(client)

    assert problem.value.kind == "connection_refused"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connect_time_out_means_not_sent(scheme: str):
    with create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as others:
        # With a full backlog the system drops further handshakes silently.
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


def test_an_endless_tls_handshake_means_not_sent():
    with create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        client = Client(appkey=KEY, rest_host=url, connect_timeout=0.3)
        with client, pytest.raises(NotSent) as problem:
            recall(client)

    assert problem.value.kind == "connect_timeout"


def test_a_host_without_tls_means_not_sent():
    with create_server(("127.0.0.1", 0)) as plain:

        def answer_in_plain_text() -> None:
            connection = plain.accept()[0]
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer_in_plain_text, daemon=True).start()
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"
        client = Client(appkey=KEY, rest_host=url, connect_timeout=2)
        with client, pytest.raises(NotSent) as problem:
            recall(client)

    assert problem.value.kind == "tls_failed"


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


def test_a_connection_closed_by_the_server_is_replaced_before_a_request_leaves(server: Server, goeasy: Client):
    server.closes_after(http(OK))
    for _ in range(3):
        assert recall(goeasy).accepted
        time.sleep(0.05)

    assert len(server.requests) == 3


def test_a_connection_that_was_idle_too_long_is_not_reused(
    server: Server, goeasy: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wire, "MAX_IDLE_SECONDS", 0.05)
    recall(goeasy)
    time.sleep(0.1)
    recall(goeasy)

    assert server.connections == 2


def test_a_request_on_a_lost_connection_is_not_sent_again(server: Server, goeasy: Client):
    recall(goeasy)
    server.handler = lambda connection, request: None

    with pytest.raises(NoAnswer):
        recall(goeasy)
    assert len(server.requests) == 2


def test_cookies_are_not_kept(server: Server, goeasy: Client):
    server.answers_with(http(OK, "200 OK", "Set-Cookie: a=b; Path=/"))
    recall(goeasy)
    recall(goeasy)

    assert b"cookie" not in server.requests[1].lower()


def test_a_closed_client_closes_its_connections(server: Server):
    with Client(appkey=KEY, rest_host=server.url) as client:
        recall(client)
        assert not server.disconnected.is_set()

    assert server.disconnected.wait(2)


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


def test_an_unreachable_proxy_means_not_sent(monkeypatch: pytest.MonkeyPatch):
    allowed = AllowedHosts.parse("goeasy.example")
    for proxy in ("http://127.0.0.1:9", "socks5://x:1"):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        client = Client(appkey=KEY, rest_host="https://goeasy.example", allowed_hosts=allowed)
        with client, pytest.raises(NotSent) as problem:
            recall(client)
        assert problem.value.kind in {"proxy_failed", "unreachable"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, and its key."""
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


def test_an_untrusted_certificate_means_not_sent(secure_server: Server):
    with Client(appkey=KEY, rest_host=secure_server.url) as client, pytest.raises(NotSent) as problem:
        recall(client)

    assert problem.value.kind == "tls_failed"
    assert secure_server.requests == []


def test_answers_over_tls_are_read_and_lost_ones_reported(
    secure_server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with Client(appkey=KEY, rest_host=secure_server.url, read_timeout=0.4) as client:
        assert recall(client).accepted

        # The connection ends without a TLS close_notify: an SSLError, but long after the handshake.
        def cut(connection: socket, request: bytes) -> None:
            connection.unwrap = None  # type: ignore[attr-defined]
            reset(connection)

        secure_server.handler = cut
        with pytest.raises(NoAnswer) as lost:
            recall(client)
        assert lost.value.kind == "connection_lost"

        secure_server.handler = never_answer
        with pytest.raises(NoAnswer) as silent:
            recall(client)
        assert silent.value.kind == "read_timeout"
    assert len(secure_server.requests) == 3


def test_a_missing_ca_bundle_means_not_sent(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/at/all.pem")
    with Client(appkey=KEY, rest_host="https://127.0.0.1:9") as client, pytest.raises(NotSent):
        recall(client)
