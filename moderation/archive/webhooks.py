"""GoEasy's webhook: `POST /webhooks/goeasy/<slug>/` (goeasy-api.md, "Webhook").

What is acknowledged is on disk; what is not on disk is not acknowledged. After three refusals GoEasy sends nothing
more until a person turns the webhook on again: nothing that it signed is refused for what it says.
"""

from __future__ import annotations

import json
import logging
from urllib.parse import parse_qsl

from django.core.exceptions import BadRequest, RequestDataTooBig
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from moderation.archive import deliveries, feed, rows
from moderation.archive.models import Application
from moderation.goeasy import signing

log = logging.getLogger(__name__)

ACKNOWLEDGEMENT = b'{"code":200,"content":"success"}'
MOST_CONTENT = 1024 * 1024
# A form writes a byte of content as up to three.
MOST_BODY = 3 * MOST_CONTENT + 1024
MOST_FIELDS = 100

What = feed.What


class TooLarge(Exception):
    """More than a webhook sends."""


@csrf_exempt
@require_POST
def receive(request: HttpRequest, slug: str) -> HttpResponse:
    """Keep what GoEasy signed and acknowledge it; count what it did not sign, and refuse it."""
    try:
        application = rows.application(slug)
        if application is None:
            return answer(404, "Not Found")
        return _receive(request, application)
    except Error:
        log.exception("webhook of %s: the database did not take it", slug)
        return answer(503, "Service Unavailable")


def _receive(request: HttpRequest, application: Application) -> HttpResponse:
    try:
        contents = contents_of(request)
    except TooLarge:
        feed.count(application, What.TOO_LARGE)
        return answer(413, "Content Too Large")
    signature = request.headers.get("x-goeasy-signature", "").strip()
    if not (signed := signed_of(contents, signature, application)):
        # The secret may be new.
        application = rows.application(application.slug, anew=True) or application
        signed = signed_of(contents, signature, application)
    if not signed:
        if not application.secret_keys():
            return refuse(application, What.NO_SECRET)
        return refuse(application, What.WRONG_SIGNATURE if signature else What.UNSIGNED)
    try:
        # Of two contents the one that is signed counts.
        is_new = deliveries.accept(application, signed[0])
    except Error:
        feed.count(application, What.NOT_STORED)
        raise
    if not is_new:
        feed.count(application, What.REPEATED)
    return HttpResponse(ACKNOWLEDGEMENT, content_type="application/json")


def signed_of(contents: list[bytes], signature: str, application: Application) -> list[bytes]:
    """Those of `contents` that the signature is of, with one of the application's secrets."""
    secrets = application.secret_keys()
    return [content for content in contents if signing.verify(content, signature, secrets)]


def answer(code: int, content: str) -> HttpResponse:
    """A refusal in the form that GoEasy's own answers have."""
    return HttpResponse(json.dumps({"code": code, "content": content}), content_type="application/json", status=code)


def refuse(application: Application, what: What) -> HttpResponse:
    """401, and nothing kept but a count."""
    feed.count(application, what)
    log.warning("webhook of %s refused: %s", application.slug, what)
    return answer(401, "Unauthorized")


def contents_of(request: HttpRequest) -> list[bytes]:
    """Every `content` of the form or the JSON body, to the byte; none in what is neither. Raises TooLarge."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > MOST_BODY:
        raise TooLarge
    if request.content_type == "multipart/form-data":
        contents = _multipart(request)
    else:
        body = _body(request)
        is_json = (request.content_type or "").endswith("json") or body.lstrip().startswith(b"{")
        contents = _json(body) if is_json else _form(body)
    if any(len(content) > MOST_CONTENT for content in contents):
        raise TooLarge
    return contents


def _body(request: HttpRequest) -> bytes:
    """The body, whether its length was told or not. Raises TooLarge."""
    is_chunked = request.META.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
    body: bytes = (request.META["wsgi.input"] if is_chunked else request).read(MOST_BODY + 1)
    if len(body) > MOST_BODY:
        raise TooLarge
    return body


def _form(body: bytes) -> list[bytes]:
    # Latin-1 has a letter for each byte: what was signed comes back to the byte, whatever its encoding.
    try:
        fields = parse_qsl(
            body.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=MOST_FIELDS
        )
    except ValueError:
        return []
    return [value.encode("latin-1") for name, value in fields if name == "content"]


def _multipart(request: HttpRequest) -> list[bytes]:
    try:
        return [str(value).encode("utf-8", "surrogatepass") for value in request.POST.getlist("content")]
    except RequestDataTooBig:
        raise TooLarge from None
    except (MultiPartParserError, BadRequest):
        return []


def _json(body: bytes) -> list[bytes]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return []
    content = data.get("content") if isinstance(data, dict) else None
    return [content.encode("utf-8", "surrogatepass")] if isinstance(content, str) else []
