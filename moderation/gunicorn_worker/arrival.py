"""A request that is arriving: collects headers and body without blocking, within the limits."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from gunicorn.http.body import ChunkedReader
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

# Seconds within which a whole request must arrive.
ARRIVAL_SECONDS = 15.0
# Bytes of a request's headers.
MAX_HEADERS = 64 * 1024
# Bytes above which a body is kept in a temporary file.
LARGE_BYTES = 1024 * 1024
# Bytes of any body but a webhook's: far above what Django accepts of a form.
MAX_FORM_BYTES = 5 * 1024 * 1024
READ_BYTES = 64 * 1024


class TooLarge(Exception):
    """A body is longer than pages accept."""


def is_body_wanted(request: Any, length: int) -> bool:
    """Whether to wait for a body of `length` bytes (received so far, if the length is unknown). Raises TooLarge.

    The application itself refuses and counts a webhook that arrives without its body.
    """
    if "/webhooks/" not in request.path:
        if length > MAX_FORM_BYTES:
            raise TooLarge
        return True
    signature = next((value for name, value in request.headers if name == "X-GOEASY-SIGNATURE"), "")
    return bool(signature.strip()) and length <= settings.WEBHOOK_MAX_BODY_BYTES


class ParsedRequest(RequestParser):  # type: ignore[misc]
    """Parser that returns the one request that it has parsed."""

    def __init__(self, config: Any, source: Iterator[bytes], client: Any) -> None:
        super().__init__(config, source, client)
        self.mesg = Request(config, self.unreader, client)

    def __next__(self) -> Any:
        return self.mesg


class ChunkedEnd:
    """Finds the end of a chunked body (RFC 9112, 7.1) without storing it; gunicorn's reader validates it later."""

    MAX_LINE = 8190
    SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(;.*)?\r\n", re.DOTALL)

    def __init__(self) -> None:
        self._line = bytearray()
        # Bytes still missing of the current chunk, including its line end.
        self._left = 0
        self._in_trailers = False

    def feed(self, data: bytes) -> int | None:
        """Number of bytes of `data` up to the end of the body, or None if it does not end yet. Raises ValueError."""
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
                raise ValueError("the size of a chunk or a trailer is too long")
            if end < 0:
                return None
            at = end + 1
            line, self._line = bytes(self._line), bytearray()
            if self._in_trailers:
                if line == b"\r\n":
                    return at
            elif not (match := self.SIZE.fullmatch(line)):
                raise ValueError("the size of a chunk is malformed")
            elif size := int(match[1], 16):
                self._left = size + 2
            else:
                self._in_trailers = True
        return None


class Arrival:
    """A request that is arriving: call `receive()` with the data until it returns True."""

    def __init__(self, config: Any, client: Any) -> None:
        self.deadline = time.monotonic() + ARRIVAL_SECONDS
        self.parser: ParsedRequest | None = None
        # gunicorn's request object, once the headers have arrived.
        self.request: Any = None
        # Data after the end of the request: the start of the next one.
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
        """Add data; True when the request is complete, or when no more of it is wanted.

        Raises ValueError for headers that are too long, and the exceptions of gunicorn's parser.
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
        # None: the length of a chunked body is unknown before its end.
        self._left = None if isinstance(reader, ChunkedReader) else reader.length

    def _source(self) -> Iterator[bytes]:
        """Data source of the parser: the headers at once, the body once it is complete."""
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
        # Keep slightly more than the limit of a chunked body, so that the application finds it too large.
        if not is_whole and not is_body_wanted(self.request, self.size - 4 * READ_BYTES):
            return self._cut()
        return is_whole

    def _cut(self) -> bool:
        """Pass on the incomplete request. The connection ends with it, because the start of the next one is unknown."""
        self.request.force_close()
        self.claim_continue()
        self.rest = b""
        return True
