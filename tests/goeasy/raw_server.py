"""A scriptable TCP server for the client's tests: it sends any bytes and breaks connections."""

from __future__ import annotations

import contextlib
import ssl
import struct
import threading
from collections.abc import Callable
from socket import SO_LINGER, SOL_SOCKET, create_server, socket
from urllib.parse import parse_qsl, urlsplit

OK = b'{"code":200,"content":"OK"}'

Handler = Callable[[socket, bytes], bytes | None]


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """An HTTP response with a Content-Length."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Server:
    """Records requests and answers each with the bytes that `handler` returns; None closes the connection.

    Connections stay open between requests, as in HTTP/1.1.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.listener = create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self.context = context
        self.handler: Handler = lambda connection, request: http(OK)
        self.requests: list[bytes] = []
        self.connections = 0
        self.disconnected = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def answers_with(self, answer: bytes) -> None:
        self.handler = lambda connection, request: answer

    def closes_after(self, answer: bytes) -> None:
        def handler(connection: socket, request: bytes) -> None:
            connection.sendall(answer)

        self.handler = handler

    def accept(self) -> None:
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket) -> None:
        with contextlib.suppress(OSError):
            connection.settimeout(5)
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection:
                while request := read_request(connection):
                    self.requests.append(request)
                    answer = self.handler(connection, request)
                    if answer is None:
                        return
                    connection.sendall(answer)
                self.disconnected.set()

    @property
    def body(self) -> bytes:
        """The body of the last request."""
        return self.requests[-1].partition(b"\r\n\r\n")[2]

    @property
    def line(self) -> str:
        """The first line of the last request."""
        return self.requests[-1].partition(b"\r\n")[0].decode()

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query of the last request."""
        return parse_qsl(urlsplit(self.line.split()[1]).query, strict_parsing=True)


def read_request(connection: socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (part := connection.recv(65536)):
            return b""
        data += part
    length = next((int(x.split(b":")[1]) for x in data.split(b"\r\n") if x.lower().startswith(b"content-length")), 0)
    while len(data) < data.index(b"\r\n\r\n") + 4 + length:
        data += connection.recv(65536)
    return data


def reset(connection: socket) -> None:
    """Close the connection with a TCP reset."""
    connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
