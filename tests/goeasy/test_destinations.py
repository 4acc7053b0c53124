"""The allow-list of hosts for keys, by name and by resolved address, on real sockets."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from moderation.goeasy.client import Client, Group
from moderation.goeasy.destinations import AllowedHosts, is_public
from moderation.goeasy.errors import NoAnswer, NotAllowed, NotSent
from tests.goeasy.raw_server import Server, http

KEY = "BC-0123456789abcdef"
NAME = "rest.goeasy.example"
NOW = 1_700_000_000_000


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for NAME, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def secure(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on 127.0.0.1 with the certificate of NAME."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(context)
    yield server
    server.listener.close()


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A function that sets the addresses of each DNS look-up and returns the list of names looked up."""
    real = socket.getaddrinfo

    def arrange(*answers: list[str]) -> list[str]:
        looked_up: list[str] = []
        left = list(answers)

        def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
            with contextlib.suppress(ValueError):
                ipaddress.ip_address(host)
                return real(host, port, *args, **kwargs)
            looked_up.append(host)
            addresses = left.pop(0) if len(left) > 1 else left[0]
            return [result for address in addresses for result in real(address, port, *args, **kwargs)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return looked_up

    return arrange


def client(server: Server, allowed: str, name: str = NAME) -> Client:
    return Client(
        appkey=KEY,
        rest_host=f"https://{name}:{server.url.rpartition(':')[2]}",
        connect_timeout=2,
        read_timeout=2,
        allowed_hosts=AllowedHosts.parse(allowed),
    )


def recall(client: Client) -> Any:
    return client.recall(target=Group("g"), timestamps=[NOW])


# The list


@pytest.mark.parametrize(
    ("allowed", "url", "may"),
    [
        ("*.goeasy.io", "https://rest-hz.goeasy.io", True),
        ("*.goeasy.io", "https://REST-HZ.GoEasy.io.", True),
        ("*.goeasy.io", "https://a.b.goeasy.io:8443/path", True),
        ("*.goeasy.io", "https://goeasy.io", False),
        ("*.goeasy.io", "https://evilgoeasy.io", False),
        ("*.goeasy.io", "https://goeasy.io.evil.example", False),
        ("*.goeasy.io", "http://rest-hz.goeasy.io", False),
        ("*.goeasy.io", "https://127.0.0.1", False),
        ("*.goeasy.io", "https://93.184.215.14", False),
        ("*.goeasy.io", "https://[::1]", False),
        ("*.goeasy.io", "https://localhost", False),
        ("proxy.example", "https://proxy.example/goeasy", True),
        ("proxy.example", "https://www.proxy.example", False),
        ("10.1.2.0/24", "https://10.1.2.3", True),
        ("10.1.2.0/24", "http://10.1.2.3", False),
        ("10.1.2.0/24", "https://10.1.3.3", False),
        ("10.1.2.0/24", "https://[::ffff:10.1.2.3]", False),
        ("127.0.0.1", "http://127.0.0.1:8001", True),
        ("127.0.0.1", "http://127.0.0.2:8001", False),
        ("127.0.0.0/8, ::1", "http://[::1]:8001", True),
        ("localhost", "http://localhost:8001", True),
        ("10.0.0.0/8", "https://10.1", False),
        ("10.0.0.0/8", "https://0x0a.1", False),
    ],
)
def test_a_key_is_sent_only_to_listed_hosts_over_https(allowed: str, url: str, may: bool) -> None:
    problem = AllowedHosts.parse(allowed).problem(url)
    assert (problem == "") is may
    assert may or "GOEASY_ALLOWED_HOSTS" in problem or "https only" in problem


@pytest.mark.parametrize(
    "text",
    ["*", "*.io", "*.", "a..b", "https://rest.example", "rest.example:443", "10.0.0.0/33", "10.1.2.3/24", "", ","],
)
def test_an_invalid_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a host name|is empty"):
        AllowedHosts.parse(text)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2400:3200::1"]
)
def test_an_internet_address_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *(
            "0.0.0.0",  # noqa: S104 - nothing listens there
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
        ),
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.168.1.1", "198.18.0.1", "224.0.0.1"),
        *("192.88.99.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *(
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "fec0::1",
            "ff02::1",
            "::ffff:93.184.215.14",
            "::ffff:10.0.0.1",
        ),
        *("64:ff9b::5db8:d70e", "64:ff9b:1::1", "2002:5db8:d70e::1", "2001::1", "2001:db8::1", "::93.184.215.14"),
        *("100::1", "3fff::1", "5f00::1"),
    ],
)
def test_a_special_address_is_refused_unless_it_is_listed(address: str) -> None:
    assert not AllowedHosts.parse("*.goeasy.io").may_connect(address)
    assert AllowedHosts.parse(f"*.goeasy.io, {address}").may_connect(address)


# On sockets


@pytest.mark.parametrize("allowed", ["*.goeasy.io", "10.0.0.0/8", "rest.goeasy.example.com"])
def test_an_unlisted_host_is_neither_resolved_nor_contacted(secure: Server, resolve: Any, allowed: str) -> None:
    looked_up = resolve(["127.0.0.1"])
    with client(secure, allowed) as goeasy, pytest.raises(NotAllowed) as refused:
        recall(goeasy)
    assert refused.value.kind == "host_not_allowed"
    assert (looked_up, secure.requests) == ([], [])
    assert KEY[3:] not in str(refused.value)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_a_listed_name_with_a_private_address_is_not_contacted(secure: Server, resolve: Any, address: str) -> None:
    resolve([address])
    with client(secure, NAME) as goeasy, pytest.raises(NotAllowed) as refused:
        recall(goeasy)
    assert refused.value.kind == "address_not_allowed"
    assert secure.requests == []


def test_a_listed_name_with_a_listed_address_is_reached(secure: Server, resolve: Any) -> None:
    looked_up = resolve(["127.0.0.1"])
    with client(secure, f"{NAME}, 127.0.0.1") as goeasy:
        assert recall(goeasy).accepted
        assert recall(goeasy).accepted
    # One look-up per connection, not per request; the Host header has the name.
    assert looked_up == [NAME]
    assert f"host: {NAME}:".encode() in secure.requests[0].lower()


def test_a_certificate_of_another_name_is_refused(secure: Server, resolve: Any) -> None:
    resolve(["127.0.0.1"])
    with client(secure, "*.goeasy.example, 127.0.0.1", "other.goeasy.example") as goeasy, pytest.raises(NotSent) as no:
        recall(goeasy)
    assert no.value.kind == "tls_failed"
    assert secure.requests == []


def test_dns_rebinding_has_no_effect(secure: Server, resolve: Any) -> None:
    looked_up = resolve(["127.0.0.1"], ["127.0.0.2"])
    with client(secure, f"{NAME}, 127.0.0.1") as goeasy:
        assert recall(goeasy).accepted
        secure.handler = lambda connection, request: None
        with pytest.raises(NoAnswer):
            recall(goeasy)
        # A new connection resolves and checks the name again.
        with pytest.raises(NotAllowed) as refused:
            recall(goeasy)
    assert refused.value.kind == "address_not_allowed"
    assert looked_up == [NAME, NAME]


def test_only_allowed_addresses_of_a_name_are_tried(secure: Server, resolve: Any) -> None:
    # Nothing listens at the second one.
    resolve(["127.0.0.3", "127.0.0.2", "127.0.0.1"])
    with client(secure, f"{NAME}, 127.0.0.1, 127.0.0.2") as goeasy:
        assert recall(goeasy).accepted


def test_the_list_of_names_holds_behind_a_proxy(secure: Server, resolve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = resolve(["127.0.0.1"])
    target = ("127.0.0.1", int(secure.url.rpartition(":")[2]))

    def tunnel(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(http(b"", "200 Connection established"))
        with socket.create_connection(target, timeout=5) as onward:
            threading.Thread(target=pump, args=(onward, connection), daemon=True).start()
            pump(connection, onward)

    proxy = Server()
    proxy.handler = tunnel
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    try:
        with client(secure, NAME) as goeasy:
            assert recall(goeasy).accepted
            secure.handler = lambda connection, request: None
            with pytest.raises(NoAnswer) as lost:
                recall(goeasy)
        with client(secure, "*.goeasy.io") as goeasy, pytest.raises(NotAllowed):
            recall(goeasy)
    finally:
        proxy.listener.close()
    assert lost.value.kind == "connection_lost"
    assert proxy.line.startswith(f"CONNECT {NAME}:{target[1]} ")
    # The proxy resolves the name, not this process.
    assert looked_up == []
    assert KEY[3:].encode() not in b"".join(proxy.requests)


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy data until the source ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def test_a_client_uses_the_list_in_the_environment_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOEASY_ALLOWED_HOSTS", raising=False)
    with Client(appkey=KEY, rest_host="http://127.0.0.1:9") as goeasy, pytest.raises(NotAllowed):
        recall(goeasy)
