"""gunicorn's threaded worker, with request buffering: a thread is given to a request that has arrived whole.

gunicorn's own `gthread` reads a request in one of its threads, for as long as the client takes, so that a few dozen
clients that send slowly occupy them all. Here the worker's event loop collects headers and body (large bodies in a
temporary file), and no thread ever reads from a socket. That is what nginx does with `proxy_request_buffering`; it
holds without a proxy, too, and behind one that does not buffer.

Limits: a request arrives within ARRIVAL_SECONDS. When MAX_ARRIVING requests or MAX_BYTES of them are on their way, the
one that began first is dropped: one that is sent in earnest is there within moments. A body that nobody is going to
read (a webhook without a signature, or longer than is taken) is not waited for; the application answers without it.

It overrides methods of gunicorn's ThreadWorker that are not documented: after an upgrade of gunicorn,
tests/ingestion/test_slow_clients.py proves it anew.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from selectors import EVENT_READ
from typing import Any

from django.conf import settings
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn, ThreadWorker

from moderation.log_limits import LimitRepeats

# Seconds in which a whole request arrives.
ARRIVAL_SECONDS = 15.0
# Seconds in which a client that was answered closes the connection.
CLOSING_SECONDS = 2.0
# Requests on their way in one process, and answered connections that are not closed yet: fewer than gunicorn's
# worker_connections, so that new ones are always let in.
MAX_ARRIVING = 400
MAX_CLOSING = 200
# Bytes: of a request's headers; of bodies of all requests that have not been answered yet.
MAX_HEADERS = 64 * 1024
MAX_BYTES = 256 * 1024 * 1024
# A body above this (bytes) lies in a temporary file, and a single thread handles all of them, one after the other.
LARGE_BYTES = 1024 * 1024
# Bytes of any body but a webhook's: far above what Django takes of a form.
MAX_FORM_BYTES = 5 * 1024 * 1024
READ_BYTES = 64 * 1024
# Threads beside `--threads` that answer /healthz and webhooks alone.
RESERVED_THREADS = 3


def is_reserved(path: str) -> bool:
    """Whether requests for `path` have threads that pages cannot occupy."""
    return "/webhooks/" in path or path.endswith("/healthz")


class TooLarge(Exception):
    """A body that is longer than what pages take."""


def is_body_wanted(request: Any, length: int) -> bool:
    """Whether a body of `length` bytes (so far, if the length is not given) is worth waiting for. Raises TooLarge.

    A webhook that is refused without its body is refused, and counted, by the application.
    """
    if "/webhooks/" not in request.path:
        if length > MAX_FORM_BYTES:
            raise TooLarge
        return True
    signature = next((value for name, value in request.headers if name == "X-GOEASY-SIGNATURE"), "")
    return bool(signature.strip()) and length <= settings.WEBHOOK_MAX_BODY_BYTES


class ParsedRequest(RequestParser):  # type: ignore[misc]
    """A parser that hands out the one request that it has parsed."""

    def __init__(self, config: Any, source: Iterator[bytes], client: Any) -> None:
        super().__init__(config, source, client)
        self.mesg = Request(config, self.unreader, client)

    def __next__(self) -> Any:
        return self.mesg


class ChunkedEnd:
    """Finds where a chunked body ends (RFC 9112, 7.1), without keeping it. gunicorn's reader checks it afterwards."""

    MAX_LINE = 8190
    SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(;.*)?\r\n", re.DOTALL)

    def __init__(self) -> None:
        self._line = bytearray()
        # Bytes of the present chunk, its line end included, that are still to come.
        self._left = 0
        self._in_trailers = False

    def feed(self, data: bytes) -> int | None:
        """How many bytes of `data` belong to the body if it ends in them, else None. Raises ValueError."""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            end = data.find(b"\n", at)
            self._line += data[at : end + 1 if end >= 0 else len(data)]
            if len(self._line) > self.MAX_LINE:
                raise ValueError("a chunk's size, or a trailer, is too long")
            if end < 0:
                return None
            at = end + 1
            line, self._line = bytes(self._line), bytearray()
            if self._in_trailers:
                if line == b"\r\n":
                    return at
            elif not (match := self.SIZE.fullmatch(line)):
                raise ValueError("this is no chunk's size")
            elif size := int(match[1], 16):
                self._left = size + 2
            else:
                self._in_trailers = True
        return None


class Arrival:
    """A request on its way: `receive()` what comes until it returns True."""

    def __init__(self, config: Any, client: Any) -> None:
        self.deadline = time.monotonic() + ARRIVAL_SECONDS
        self.parser: ParsedRequest | None = None
        # gunicorn's, as soon as its headers are there.
        self.request: Any = None
        # What came behind the request's end: the beginning of the next one.
        self.rest = b""
        self.size = 0
        self._config, self._client = config, client
        self._head = bytearray()
        self._body = tempfile.SpooledTemporaryFile(max_size=LARGE_BYTES)  # noqa: SIM115 - closed by `close()`
        self._left: int | None = 0
        self._chunked = ChunkedEnd()

    @property
    def has_begun(self) -> bool:
        return bool(self._head)

    @property
    def is_large(self) -> bool:
        return self.size > LARGE_BYTES

    def claim_continue(self) -> bool:
        """Whether the client waits for “100 Continue” before it sends the body; True only once."""
        if self.parser is None or not self.request._expected_100_continue:
            return False
        self.request._expected_100_continue = False
        return True

    def receive(self, data: bytes) -> bool:
        """Add what arrived; True when the request is whole, or when nothing more of it is wanted.

        Raises ValueError for headers that are too long, and what gunicorn's parser raises.
        """
        if self.parser is None:
            searched = max(0, len(self._head) - 3)
            self._head += data
            if (end := self._head.find(b"\r\n\r\n", searched)) < 0:
                if len(self._head) > MAX_HEADERS:
                    raise ValueError("the headers are too long")
                return False
            data = bytes(self._head[end + 4 :])
            del self._head[end + 4 :]
            self._parse()
            if not is_body_wanted(self.request, self._left or 0):
                return self._cut()
        return self._receive_body(data)

    def close(self) -> None:
        self._body.close()

    def _parse(self) -> None:
        self.parser = ParsedRequest(self._config, self._source(), self._client)
        self.request = self.parser.mesg
        reader = self.request.body.reader
        # None: chunked, its length is not known before its end.
        self._left = None if isinstance(reader, ChunkedReader) else reader.length

    def _source(self) -> Iterator[bytes]:
        """What the parser reads: the headers at once, the body when all of it is there."""
        yield bytes(self._head)
        self._body.seek(0)
        while piece := self._body.read(READ_BYTES):
            yield piece

    def _receive_body(self, data: bytes) -> bool:
        if self._left is None:
            end = self._chunked.feed(data)
            is_whole, body = end is not None, data[:end]
        else:
            body = data[: self._left]
            self._left -= len(body)
            is_whole = not self._left
        self._body.write(body)
        self.size += len(body)
        self.rest = data[len(body) :]
        # Of a chunked body, which the application is to find too large, a little more than that.
        if not is_whole and not is_body_wanted(self.request, self.size - 4 * READ_BYTES):
            return self._cut()
        return is_whole

    def _cut(self) -> bool:
        """Hand the request over as it is. Where the next one begins is not known: the connection ends with it."""
        self.request.force_close()
        self.claim_continue()
        self.rest = b""
        return True


class BufferingWorker(ThreadWorker):  # type: ignore[misc]
    """The worker for pages (gunicorn.conf.py): webhooks and /healthz have threads of their own beside `--threads`."""

    reserved_threads = RESERVED_THREADS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Connections by when they began, the first one first.
        self.arriving: dict[TConn, Arrival] = {}
        self.handled: dict[TConn, Arrival] = {}
        self.closing: dict[TConn, float] = {}

    def init_process(self) -> None:
        logging.getLogger("gunicorn.error").addFilter(LimitRepeats())
        self.large_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large")
        self.reserved_pool = self.reserved_threads and ThreadPoolExecutor(self.reserved_threads, "reserved")
        super().init_process()

    # Arriving

    def accept(self, listener: socket.socket) -> None:
        if self.cfg.is_ssl:
            # TLS in gunicorn itself is not what is documented: a handshake takes a thread, as with gthread.
            super().accept(listener)
            return
        try:
            client, address = listener.accept()
        except OSError:
            return
        self.nr_conns += 1
        connection = TConn(self.cfg, client, address, listener.getsockname())
        # Nothing is left to be set up in a thread.
        connection.initialized = True
        self.expect(connection)
        self.on_data(connection, client)

    def expect(self, connection: TConn, begun: bytes = b"") -> None:
        """Wait for a request on the connection; `begun` is what came of it already."""
        self.arriving[connection] = Arrival(self.cfg, connection.client)
        self.poller.register(connection.sock, EVENT_READ, partial(self.on_data, connection))
        if len(self.arriving) > MAX_ARRIVING:
            self.drop(next(iter(self.arriving)))
        if begun:
            self.receive(connection, begun)

    def on_data(self, connection: TConn, client: socket.socket) -> None:
        """Something arrived, or the client has gone."""
        if connection not in self.arriving:
            # Dropped since the event.
            return
        try:
            data = client.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.receive(connection, data)
        else:
            self.drop(connection)

    def receive(self, connection: TConn, data: bytes) -> None:
        arrival = self.arriving[connection]
        try:
            is_whole = arrival.receive(data)
            if not is_whole and arrival.claim_continue():
                connection.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        except (NoMoreData, StopIteration):
            self.drop(connection)
        except TooLarge:
            self.drop(connection, "413 Content Too Large")
        except ValueError:
            has_headers = arrival.parser is not None
            self.drop(connection, "400 Bad Request" if has_headers else "431 Request Header Fields Too Large")
        except OSError:
            # No room for the body where temporary files are, or the client has gone.
            self.drop(connection, "503 Service Unavailable")
        except Exception as error:
            # What gunicorn's parser does not take, gunicorn answers.
            self.handle_error(None, connection.sock, connection.client, error)
            self.drop(connection)
        else:
            if is_whole:
                self.hand_over(connection)
            elif arrival.is_large:
                self.make_room()

    def make_room(self) -> None:
        """Drop what has been on its way for longest while too much is."""
        while self.arriving and self.bytes_held() > MAX_BYTES:
            self.drop(next(iter(self.arriving)), "503 Service Unavailable")

    def bytes_held(self) -> int:
        return sum(each.size for waiting in (self.arriving, self.handled) for each in waiting.values())

    def drop(self, connection: TConn, status: str = "") -> None:
        """End a connection whose request did not arrive whole; with `status`, say so."""
        arrival = self.arriving.pop(connection)
        arrival.close()
        self.poller.unregister(connection.sock)
        if status:
            with contextlib.suppress(OSError):
                connection.sock.send(f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        self.linger(connection)

    # Handled

    def hand_over(self, connection: TConn) -> None:
        """Give the request to a thread."""
        arrival = self.handled[connection] = self.arriving.pop(connection)
        self.poller.unregister(connection.sock)
        connection.parser = arrival.parser
        pool = self.pool_for(arrival)
        future = pool.submit(self.handle, connection)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, connection, done))

    def pool_for(self, arrival: Arrival) -> ThreadPoolExecutor:
        if arrival.is_large:
            return self.large_pool
        if self.reserved_pool and is_reserved(arrival.request.path):
            return self.reserved_pool
        pool: ThreadPoolExecutor = self.tpool
        return pool

    def finish_request(self, connection: TConn, done: Future[bool]) -> None:
        """The thread has answered: wait for the next request, or end the connection."""
        if (arrival := self.handled.pop(connection, None)) is None:
            super().finish_request(connection, done)
            return
        arrival.close()
        is_kept = not done.cancelled() and not done.exception() and done.result()
        if not is_kept:
            self.linger(connection)
        elif arrival.rest:
            connection.sock.setblocking(False)
            self.expect(connection, arrival.rest)
        else:
            super().finish_request(connection, done)

    def on_client_socket_readable(self, connection: TConn, client: socket.socket) -> None:
        """The next request begins on a connection that was kept."""
        if self.cfg.is_ssl:
            super().on_client_socket_readable(connection, client)
            return
        self.poller.unregister(client)
        self.keepalived_conns.remove(connection)
        self.expect(connection)
        self.on_data(connection, client)

    # Closing

    def linger(self, connection: TConn) -> None:
        """Close the connection once the client has, or soon: closed with something unread, it would lose the answer."""
        try:
            connection.sock.setblocking(False)
            connection.sock.shutdown(socket.SHUT_WR)
            self.poller.register(connection.sock, EVENT_READ, partial(self.on_leftover, connection))
        except (OSError, ValueError, KeyError):
            self.end(connection)
            return
        self.closing[connection] = time.monotonic() + CLOSING_SECONDS
        if len(self.closing) > MAX_CLOSING:
            self.end(next(iter(self.closing)))

    def on_leftover(self, connection: TConn, client: socket.socket) -> None:
        """Throw away what still comes."""
        if connection not in self.closing:
            return
        try:
            if client.recv(READ_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.end(connection)

    def end(self, connection: TConn) -> None:
        if self.closing.pop(connection, None) is not None:
            self.poller.unregister(connection.sock)
        self.nr_conns -= 1
        connection.close()

    def murder_keepalived(self, force: bool = False) -> None:
        """What the event loop calls at least once a second: end what takes too long."""
        super().murder_keepalived(force)
        now = time.monotonic()
        for connection in self._overdue(self.arriving, lambda arrival: force or arrival.deadline <= now):
            begun = self.arriving[connection].has_begun
            self.drop(connection, "408 Request Timeout" if begun else "")
        for connection in self._overdue(self.closing, lambda deadline: force or deadline <= now):
            self.end(connection)
        if not self.alive:
            # Nothing was sent on these: no request is lost.
            for connection in [each for each, arrival in self.arriving.items() if not arrival.has_begun]:
                self.drop(connection)

    @staticmethod
    def _overdue(waiting: dict[TConn, Any], is_over: Callable[[Any], bool]) -> list[TConn]:
        """Those at the beginning of `waiting` that are over: it is in the order in which they are."""
        overdue = []
        for connection, value in waiting.items():
            if not is_over(value):
                break
            overdue.append(connection)
        return overdue


class WebhookWorker(BufferingWorker):
    """The worker of the process that serves webhooks alone (gunicorn_webhook.conf.py): all its threads are for them."""

    reserved_threads = 0
