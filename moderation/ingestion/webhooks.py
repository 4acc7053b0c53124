"""GoEasy's webhook: `POST /webhooks/goeasy/<slug>/` (docs/goeasy-api.md, "Webhook").

A delivery is acknowledged only once it is on disk. After three refusals GoEasy sends nothing more until a person
enables the webhook again, so a signed delivery is never refused for its content.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_header_parameters
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from moderation.applications.models import Application
from moderation.goeasy import signing
from moderation.goeasy.answers import json_parts, json_text
from moderation.ingestion import deliveries, feed, rows
from moderation.json_depth import nests_too_deeply

log = logging.getLogger(__name__)

ACKNOWLEDGEMENT = b'{"code":200,"content":"success"}'
MAX_FIELDS = 100
# A JSON body up to this size may have anything beside “content”; a larger one only a few strings and numbers.
MAX_NESTED_BYTES = 1024 * 1024
# Runs of escapes at once, because in Chinese text every character may be escaped.
STRING = rb'"(?:[^"\\]++|(?:\\u[0-9A-Fa-f]{4})++|\\.)*+"'
IS_FLAT = re.compile(
    rb"\s*+\{(?:\s*+" + STRING + rb"\s*+:\s*+(?:" + STRING + rb"|[-+.\w]{1,40}+)\s*+,?){0,20}+\s*+\}\s*+", re.DOTALL
).fullmatch
MEMBER = re.compile(rb"(" + STRING + rb")\s*+:\s*+(" + STRING + rb"|[-+.\w]{1,40}+)", re.DOTALL)
JSON_ESCAPES = re.compile(rb"(?:\\u[0-9A-Fa-f]{4})+|\\.?", re.DOTALL)
# Of large bodies one is decoded at a time, so that several at once need little more memory than their own size.
DECODING_LARGE = threading.Lock()
ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
# Size of the pieces in which a body is read.
PIECE_BYTES = 64 * 1024

Read = Callable[[int], bytes]
Metric = feed.Metric


class TooLarge(Exception):
    """The body exceeds WEBHOOK_MAX_MB."""


class NotWhole(Exception):
    """The body is truncated, or its chunks are malformed."""


@csrf_exempt
@require_POST
def receive(request: HttpRequest, slug: str) -> HttpResponse:
    """Store and acknowledge signed deliveries; count and refuse all others."""
    try:
        application = rows.application(slug)
        if application is None:
            return refuse(slug, 404, "Not Found", "there is no such application")
        return _receive(request, application)
    except Error:
        log.exception("webhook of %s: the database did not take it", slug)
        return answer(503, "Service Unavailable")


def _receive(request: HttpRequest, application: Application) -> HttpResponse:
    # Checked before the body is read, which would be wasted time without a signature.
    if not (signature := request.headers.get("x-goeasy-signature", "").strip()):
        return reject(application, Metric.UNSIGNED)
    try:
        form, contents = contents_of(request)
    except TooLarge:
        feed.count(application, Metric.TOO_LARGE)
        return refuse(application.slug, 413, "Content Too Large", Metric.TOO_LARGE)
    except NotWhole:
        return refuse(application.slug, 400, "Bad Request", "its body breaks off")
    if not (signed := signed_of(contents, signature, application)):
        # The cached secret may be outdated.
        application = rows.application(application.slug, anew=True) or application
        signed = signed_of(contents, signature, application)
    if not signed:
        return reject(application, Metric.WRONG_SIGNATURE)
    try:
        # Of several contents only a signed one counts.
        is_new = deliveries.accept(application, signed[0], form)
    except Error:
        feed.count(application, Metric.NOT_STORED)
        raise
    if not is_new:
        feed.count(application, Metric.REPEATED)
    return HttpResponse(ACKNOWLEDGEMENT, content_type="application/json")


def signed_of(contents: list[bytes], signature: str, application: Application) -> list[bytes]:
    """Those of `contents` whose signature, by one of the application's secrets, is `signature`."""
    secrets = application.secret_keys()
    return [content for content in contents if signing.verify(content, signature, secrets)]


def reject(application: Application, metric: Metric) -> HttpResponse:
    """Count a request without a valid signature and answer 401; nothing else is stored."""
    if problem := application.secret_problem:
        metric = Metric.SECRET_UNREADABLE if problem == "key_unreadable" else Metric.NO_SECRET
    feed.count(application, metric)
    return refuse(application.slug, 401, "Unauthorized", metric)


def refuse(slug: str, code: int, content: str, why: str) -> HttpResponse:
    """Log the reason `why` and answer with `code`."""
    log.warning("webhook of %s refused: %s", slug, why)
    return answer(code, content)


def answer(code: int, content: str) -> HttpResponse:
    """An error response in the format of GoEasy's own responses."""
    response = HttpResponse(
        json.dumps({"code": code, "content": content}), content_type="application/json", status=code
    )
    # Django would log a second line for the same refusal.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def contents_of(request: HttpRequest) -> tuple[str, list[bytes]]:
    """Return the encoding and every `content`, byte for byte, of a form or JSON body; none for any other body.

    A form is decoded piece by piece, because 20 MB are 60 MB when escaped. Raises TooLarge, NotWhole.
    `benchmarks/bench_webhook_memory.py` measures the memory for each encoding.
    """
    if int(request.META.get("CONTENT_LENGTH") or 0) > settings.WEBHOOK_MAX_BODY_BYTES:
        raise TooLarge
    read = _reader(request)
    if request.content_type == "multipart/form-data":
        form = "multipart"
        contents = list(_multipart(_rest(b"\r\n", read), request.META["CONTENT_TYPE"]))
    else:
        begin = read(PIECE_BYTES)
        is_json = (request.content_type or "").endswith("json") or begin.lstrip().startswith(b"{")
        form = "json" if is_json else "form"
        contents = _json(_rest(begin, read)) if is_json else _form(begin, read)
    if sum(map(len, contents)) > settings.WEBHOOK_MAX_BYTES:
        raise TooLarge
    return form, contents


def _reader(request: HttpRequest) -> Read:
    """Return a function that reads the body, chunked or not, and raises TooLarge and NotWhole."""
    is_chunked = request.META.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
    body: Any = request.META["wsgi.input"] if is_chunked else request
    size = 0

    def read(most: int) -> bytes:
        nonlocal size
        try:
            piece: bytes = body.read(most)
        except Exception as error:
            # Each server has its own exceptions for client errors.
            raise NotWhole from error
        size += len(piece)
        if size > settings.WEBHOOK_MAX_BODY_BYTES:
            raise TooLarge
        return piece

    return read


def _rest(begin: bytes, read: Read) -> bytearray:
    """`begin` and the rest of the body; to join a list of pieces would hold the body twice."""
    body = bytearray(begin)
    while piece := read(PIECE_BYTES):
        body += piece
    return body


def _form(begin: bytes, read: Read) -> list[bytes]:
    """The values of the fields named “content”."""
    contents: list[bytes] = []
    name, value, fields = b"", None, 0
    piece = begin
    while piece:
        for number, part in enumerate(piece.split(b"&")):
            if number:
                if name == b"content":
                    contents.append(value.whole() if value else b"")
                name, value, fields = b"", None, fields + 1
                if fields >= MAX_FIELDS:
                    return []
            if value is None:
                start, is_named, part = part.partition(b"=")
                name += start
                if is_named or len(name) > PIECE_BYTES:
                    name = unescape(name)
                    value = Unescaped(is_kept=name == b"content")
            if value is not None:
                value.add(part)
        piece = read(PIECE_BYTES)
    if name == b"content":
        contents.append(value.whole() if value else b"")
    return contents


def unescape(text: bytes) -> bytes:
    """Decode a part of a form. Runs of escapes are decoded at once, because in Chinese text every byte is escaped."""
    return ESCAPES.sub(lambda run: bytes.fromhex(run[0].replace(b"%", b"").decode()), text.replace(b"+", b" "))


class Unescaped:
    """Decoder of a form's value, from pieces that may split an escape. Raises TooLarge."""

    def __init__(self, *, is_kept: bool) -> None:
        self._is_kept = is_kept
        self._bytes = bytearray()
        self._escape = b""

    def add(self, piece: bytes) -> None:
        if not self._is_kept:
            return
        piece = self._escape + piece
        at = piece.rfind(b"%", -2)
        piece, self._escape = (piece[:at], piece[at:]) if at >= 0 else (piece, b"")
        self._bytes += unescape(piece)
        if len(self._bytes) > settings.WEBHOOK_MAX_BYTES:
            raise TooLarge

    def whole(self) -> bytes:
        return bytes(self._bytes + self._escape)


def _multipart(body: bytearray, content_type: str) -> Iterator[bytes]:
    """The parts named “content” (RFC 7578); `body` begins with a line break of our own."""
    boundary = _parameters(content_type).get("boundary", "").encode("latin-1", "replace")
    for part in body.split(b"\r\n--" + boundary, MAX_FIELDS + 1)[1 : MAX_FIELDS + 1] if boundary else ():
        headers, _blank, value = part.partition(b"\r\n\r\n")
        for header in headers.decode("latin-1").split("\r\n"):
            field, _colon, parameters = header.partition(":")
            is_name = field.strip().lower() == "content-disposition"
            if is_name and _parameters(parameters).get("name") == "content":
                yield bytes(value)


def _json(body: bytearray) -> list[bytes]:
    """The body's member “content”, if it is a string, even beside members that nest too deeply."""
    if len(body) > MAX_NESTED_BYTES:
        with DECODING_LARGE:
            return _large_json(body)
    try:
        text = json_text(bytes(body))
        if nests_too_deeply(text):
            raw = dict(json_parts(text)).get("content", "")
            data = {"content": json.loads(raw)} if raw.startswith('"') else None
        else:
            data = json.loads(text)
    except ValueError:
        return []
    content = data.get("content") if isinstance(data, dict) else None
    return [content.encode("utf-8", "surrogatepass")] if isinstance(content, str) else []


def _large_json(body: bytearray) -> list[bytes]:
    """The same of a large body, without a copy of it as text; nothing if it has nested members.

    Its sender is not verified yet, and building millions of lists would delay every other request.
    """
    if not IS_FLAT(body):
        return []
    content: list[bytes] = []
    for member in MEMBER.finditer(body):
        try:
            if json.loads(member[1]) == "content":
                start, end = member.span(2)
                is_text = body[start : start + 1] == b'"'
                value = memoryview(body)[start + 1 : end - 1]
                content = [JSON_ESCAPES.sub(_unescape_json, value)] if is_text else []
        except ValueError:
            return []
    return content


def _unescape_json(escapes: re.Match[bytes]) -> bytes:
    """Decode one escape or a run of them, because a pair of surrogates is one character. Raises ValueError."""
    text: str = json.loads(b'"%s"' % escapes[0])
    return text.encode("utf-8", "surrogatepass")


def _parameters(header: str) -> dict[str, str]:
    """A header's parameters; none when their encoding is unknown."""
    try:
        return dict(parse_header_parameters(header)[1])
    except ValueError:
        return {}
