"""HTTP transport to GoEasy: host, connections, time-outs, and protection of the key.

Whether a request left is not inferred from an exception's type: the connection records when it starts to send
(`_Connection`, `_this_call`). Nothing is retried here; that is the caller's decision.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import json
import logging
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import requests
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
import urllib3.util.connection
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from moderation.goeasy.destinations import AddressNotAllowed, AllowedHosts, is_loopback
from moderation.goeasy.errors import NoAnswer, NotAllowed, NotSent

# docs/goeasy-api.md, "REST hosts"
REGIONS = {"hangzhou": "https://rest-hz.goeasy.io", "singapore": "https://rest-singapore.goeasy.io"}

MASK = "•••"
# Bytes read of an answer: a limit of this console, since GoEasy documents none.
MAX_ANSWER_BYTES = 1024 * 1024
# Seconds for which an idle connection is reused: if the server closes it just as a request leaves, the outcome is
# needlessly unknown. Common servers keep idle connections for 5 seconds or more.
MAX_IDLE_SECONDS = 4.0
USER_AGENT = "goeasy-moderation-console"

BASE_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?)"
    r"(?P<port>:[0-9]{1,5})?(?P<path>(/[a-z0-9._~%-]*)*)",
    re.IGNORECASE | re.ASCII,
)


def base_url(rest_host: str) -> str:
    """Base URL, without a trailing slash, for a region, a host name or a base URL.

    Host names use HTTPS. Raises ValueError with a message that names `rest_host`.
    """
    text = rest_host.strip()
    if text.lower() in REGIONS:
        return REGIONS[text.lower()]
    url = BASE_URL.fullmatch(text if "://" in text else f"https://{text}")
    # A bare word is more likely a misspelt region than a host; such a host can be written as a URL.
    bare_word = "://" not in text and not re.search(r"[.:]|^localhost$", text, re.IGNORECASE)
    if url is None or bare_word or not _is_address(url):
        # What precedes an @ or follows a ? may be a password or the key.
        shown = re.split("[?#]", text.rpartition("@")[2])[0]
        raise ValueError(
            f"“{shown}” is not a region ({', '.join(REGIONS)}), a host name or a base URL such as "
            "http://127.0.0.1:8001, without user name, query or fragment."
        )
    return url[0].rstrip("/")


def _is_address(url: re.Match[str]) -> bool:
    if url["port"] and not 0 < int(url["port"][1:]) < 65536:
        return False
    if url["host"].startswith("["):
        try:
            ipaddress.IPv6Address(url["host"][1:-1])
        except ValueError:
            return False
    return True


@dataclass(frozen=True)
class Received:
    """A complete raw answer: `retry_after` is the header, `latency_ms` the duration of the exchange (ms)."""

    http_status: int
    body: bytes
    retry_after: str | None
    latency_ms: int


class Session(requests.Session):
    """Session that keeps connections and no other state, and never follows a redirect.

    It connects only to hosts in `allowed`. Behind a proxy only the host name is checked, because the proxy resolves it.
    """

    def __init__(self, base: str, pool_size: int, allowed: AllowedHosts) -> None:
        super().__init__()
        self.allowed = allowed
        adapter = _Adapter(pool_connections=1, pool_maxsize=pool_size, max_retries=0, pool_block=False)
        self.mount("http://", adapter)
        self.mount("https://", adapter)
        # Otherwise requests would read a password for the host from .netrc.
        self.trust_env = False
        self.proxies = {} if is_loopback(urlsplit(base).hostname or "") else get_environ_proxies(base)
        self.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # "identity": MAX_ANSWER_BYTES counts the bytes that arrive.
        self.headers.update({"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"})
        for name in ("urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry"):
            logging.getLogger(name).addFilter(_hide_keys)

    def get_redirect_target(self, resp: requests.Response) -> None:
        # Even with allow_redirects=False requests would read the whole body of a redirect.
        return None

    def exchange(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, object] | None = None,
        body: bytes | None = None,
        timeout: tuple[float, float],
    ) -> Received | NotSent | NoAnswer:
        """Send one request, `body` (JSON) as it is, and read the whole answer; time-outs (connect, read) in seconds.

        Errors are returned, not raised: the frames of a traceback would contain the key.
        """
        if refusal := self.allowed.problem(url):
            return NotAllowed(refusal, kind="host_not_allowed", latency_ms=0)
        _this_call.request_began, _this_call.allowed = False, self.allowed
        status: int | None = None
        content = bytearray()
        started = time.monotonic()
        try:
            with self.request(
                method,
                url,
                # requests would encode a space as "+".
                params=urlencode(query, quote_via=quote, safe="") if query else None,
                data=body,
                headers={"Content-Type": "application/json"} if body else None,
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                status = response.status_code
                for chunk in response.iter_content(16 * 1024):
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        return NoAnswer(
                            f"The answer is longer than {MAX_ANSWER_BYTES} bytes.",
                            kind="oversize",
                            latency_ms=_ms_since(started),
                            http_status=status,
                        )
                retry_after = response.headers.get("Retry-After")
        except Exception as problem:
            # Any exception here refers to the request, and so to the key. What matters is whether the request had
            # started to leave, not the exception's type.
            latency_ms = _ms_since(started)
            if _this_call.request_began:
                return _no_answer(problem, status, latency_ms)
            return _not_sent(problem, latency_ms)
        return Received(status, bytes(content), retry_after, _ms_since(started))


def compact(value: object, *, allow_nan: bool = True) -> str:
    """`value` as JSON without white space, as it is sent and stored."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=allow_nan)


class _ThisCall(threading.local):
    """State of the call that this thread is making."""

    request_began = False
    allowed: AllowedHosts


_this_call = _ThisCall()


class _TimedReader(io.RawIOBase):
    """Socket reader with a deadline: the socket's own time-out starts again with every byte."""

    def __init__(self, sock: Any, raw: Any) -> None:
        self._sock = sock
        self._raw = raw
        timeout = sock.gettimeout()
        self._until = None if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """Response whose headers and body must arrive within one read time-out."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimedReader(sock, self.fp.detach()))


class _Connection(urllib3.connection.HTTPConnection):
    """Connection that records when a request starts to leave, and is not reused after MAX_IDLE_SECONDS."""

    response_class = _Response
    _last_sent = 0.0

    def connect(self) -> None:
        began = _this_call.request_began
        try:
            super().connect()
        finally:
            # Opening a tunnel through a proxy calls `send`, but does not send the request.
            _this_call.request_began = began

    def _new_conn(self) -> socket.socket:
        if self.proxy is not None:
            return super()._new_conn()
        name, problem = self._dns_host, None
        try:
            for address in self._addresses():
                # Replace the host name only while connecting: TLS still verifies the name.
                self._dns_host = address
                try:
                    return super()._new_conn()
                except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
                    problem = error
        finally:
            self._dns_host = name
        raise problem or AddressNotAllowed

    def _addresses(self) -> list[str]:
        """Addresses that the host name resolves to now, without those that are not allowed."""
        family = urllib3.util.connection.allowed_gai_family()
        try:
            results = socket.getaddrinfo(self._dns_host.strip("[]"), self.port, family, socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        addresses = dict.fromkeys(str(address[0]) for _family, _type, _proto, _name, address in results)
        return [address for address in addresses if _this_call.allowed.may_connect(address)]

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        _this_call.request_began = True
        super().send(data)
        self._last_sent = time.monotonic()

    @property
    def is_connected(self) -> bool:
        return time.monotonic() - self._last_sent < MAX_IDLE_SECONDS and super().is_connected


class _SecureConnection(_Connection, urllib3.connection.HTTPSConnection):
    """`_Connection` over TLS."""


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """Makes requests use `_Connection`."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if not proxy.lower().startswith("http"):
            raise requests.exceptions.InvalidProxyURL("Only HTTP proxies are supported.")
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager


# Reasons why a request did not leave; the first match counts.
NOT_SENT: tuple[tuple[str, tuple[type[BaseException], ...], str], ...] = (
    ("proxy_failed", (urllib3.exceptions.ProxyError,), "The proxy did not connect to GoEasy."),
    ("name_unresolved", (urllib3.exceptions.NameResolutionError,), "GoEasy's host name could not be resolved."),
    (
        "tls_failed",
        (ssl.SSLError, urllib3.exceptions.SSLError),
        "A secure connection to GoEasy could not be made.",
    ),
    ("connect_timeout", (TimeoutError,), "GoEasy did not accept the connection in time."),
    ("connection_refused", (ConnectionRefusedError,), "GoEasy's host refused the connection."),
)


def _not_sent(problem: BaseException, latency_ms: int) -> NotSent:
    """Error for a request that did not leave."""
    chain = list(_chain(problem))
    if any(isinstance(link, AddressNotAllowed) for link in chain):
        message = "The host name does not resolve to an allowed address."
        return NotAllowed(message, kind="address_not_allowed", latency_ms=latency_ms)
    for kind, types, message in NOT_SENT:
        if any(isinstance(link, types) for link in chain):
            return NotSent(message, kind=kind, latency_ms=latency_ms)
    return NotSent("GoEasy could not be reached.", kind="unreachable", latency_ms=latency_ms)


def _no_answer(problem: BaseException, status: int | None, latency_ms: int) -> NoAnswer:
    """Error for a request that left and got no complete answer."""
    chain = list(_chain(problem))
    if any(isinstance(link, (TimeoutError, urllib3.exceptions.ReadTimeoutError)) for link in chain):
        kind, message = "read_timeout", "GoEasy did not answer in time."
    elif status is None and any(isinstance(link, (ConnectionError, ssl.SSLError)) for link in chain):
        kind, message = "connection_lost", "The connection was lost before GoEasy answered."
    else:
        kind, message = "broken_answer", "GoEasy's answer is incomplete or not valid HTTP."
    return NoAnswer(message, kind=kind, latency_ms=latency_ms, http_status=status)


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    """`problem` and its causes."""
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__


class Key(str):
    """A key that is masked in `repr()`, and so in debuggers and on error pages."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(MASK)


def _hide_keys(record: logging.LogRecord) -> bool:
    """Mask keys in urllib3's log records: they quote whole URLs, and history's URL contains the key."""
    if record.exc_info:
        # The record quotes malformed headers of the server, which may repeat the request.
        record.msg, record.args = str(record.msg).partition(" (")[0], ()
        record.exc_info = record.exc_text = None
    message = record.getMessage()
    if "appkey=" in message:
        record.msg, record.args = re.sub(r"(appkey=)[^&\s\"'#]*", rf"\1{MASK}", message), ()
    return True


def masked_key(appkey: str) -> str:
    """The first three characters of the key and a mask; only the mask for a short key."""
    return (appkey[:3] if len(appkey) >= 12 else "") + MASK


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
