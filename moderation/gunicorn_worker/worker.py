"""The workers: an event loop that reads requests, and threads that handle complete ones."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.http.errors import NoMoreData
from gunicorn.workers.gthread import TConn, ThreadWorker

from moderation.gunicorn_worker.arrival import READ_BYTES, Arrival, TooLarge
from moderation.log_limits import LimitRepeats

# Seconds within which a client must close its connection after the answer.
CLOSING_SECONDS = 2.0
# Maximum of arriving requests, and of answered connections that are not closed yet, per process: together fewer than
# gunicorn's worker_connections, so that new connections are always accepted.
MAX_ARRIVING = 400
MAX_CLOSING = 200
# Bytes of all request bodies that have not been answered yet.
MAX_BYTES = 256 * 1024 * 1024
# Threads besides `--threads` that handle only /healthz and webhooks.
RESERVED_THREADS = 3


def is_reserved(path: str) -> bool:
    """Whether requests for `path` are handled by the reserved threads."""
    return "/webhooks/" in path or path.endswith("/healthz")


class BufferingWorker(ThreadWorker):  # type: ignore[misc]
    """Worker for pages (gunicorn.conf.py): webhooks and /healthz have reserved threads besides `--threads`."""

    reserved_threads = RESERVED_THREADS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Connections in the order in which they entered each state.
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
            # TLS in gunicorn itself is not a documented set-up: its handshake occupies a thread, as with gthread.
            super().accept(listener)
            return
        try:
            client, address = listener.accept()
        except OSError:
            return
        self.nr_conns += 1
        connection = TConn(self.cfg, client, address, listener.getsockname())
        # No set-up is left for a thread.
        connection.initialized = True
        self.expect(connection)
        self.on_data(connection, client)

    def expect(self, connection: TConn, begun: bytes = b"") -> None:
        """Wait for a request on the connection; `begun` is the part that has already arrived."""
        self.arriving[connection] = Arrival(self.cfg, connection.client)
        self.poller.register(connection.sock, EVENT_READ, partial(self.on_data, connection))
        if len(self.arriving) > MAX_ARRIVING:
            self.drop(next(iter(self.arriving)))
        if begun:
            self.receive(connection, begun)

    def on_data(self, connection: TConn, client: socket.socket) -> None:
        """Read data, or notice that the client has disconnected."""
        if connection not in self.arriving:
            # Dropped after the event was raised.
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
            # No space for temporary files, or the client has disconnected.
            self.drop(connection, "503 Service Unavailable")
        except Exception as error:
            # gunicorn answers what its parser refuses.
            self.handle_error(None, connection.sock, connection.client, error)
            self.drop(connection)
        else:
            if is_whole:
                self.hand_over(connection)
            elif arrival.is_large:
                self.enforce_byte_limit()

    def enforce_byte_limit(self) -> None:
        """Drop the oldest arriving requests while more than MAX_BYTES are held."""
        while self.arriving and self.bytes_held() > MAX_BYTES:
            self.drop(next(iter(self.arriving)), "503 Service Unavailable")

    def bytes_held(self) -> int:
        return sum(each.size for waiting in (self.arriving, self.handled) for each in waiting.values())

    def drop(self, connection: TConn, status: str = "") -> None:
        """Close a connection whose request is incomplete, with an answer if `status` is given."""
        arrival = self.arriving.pop(connection)
        arrival.close()
        self.poller.unregister(connection.sock)
        if status:
            with contextlib.suppress(OSError):
                connection.sock.send(f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        self.linger(connection)

    # Handled

    def hand_over(self, connection: TConn) -> None:
        """Pass the request to a thread."""
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
        """After the answer, wait for the next request or close the connection."""
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
        """Start to read the next request on a kept connection."""
        if self.cfg.is_ssl:
            super().on_client_socket_readable(connection, client)
            return
        self.poller.unregister(client)
        self.keepalived_conns.remove(connection)
        self.expect(connection)
        self.on_data(connection, client)

    # Closing

    def linger(self, connection: TConn) -> None:
        """Close the connection after the client does, or soon: closing with unread data would lose the answer."""
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
        """Discard data that still arrives."""
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
        """Close what takes too long; the event loop calls this at least once a second."""
        super().murder_keepalived(force)
        now = time.monotonic()
        for connection in self._overdue(self.arriving, lambda arrival: force or arrival.deadline <= now):
            begun = self.arriving[connection].has_begun
            self.drop(connection, "408 Request Timeout" if begun else "")
        for connection in self._overdue(self.closing, lambda deadline: force or deadline <= now):
            self.end(connection)
        if not self.alive:
            # These connections have received nothing: no request is lost.
            for connection in [each for each, arrival in self.arriving.items() if not arrival.has_begun]:
                self.drop(connection)

    @staticmethod
    def _overdue(waiting: dict[TConn, Any], is_expired: Callable[[Any], bool]) -> list[TConn]:
        """Expired entries at the start of `waiting`, which is ordered by deadline."""
        overdue = []
        for connection, value in waiting.items():
            if not is_expired(value):
                break
            overdue.append(connection)
        return overdue


class WebhookWorker(BufferingWorker):
    """Worker of the process that serves only webhooks (gunicorn_webhook.conf.py): it needs no reserved threads."""

    reserved_threads = 0
