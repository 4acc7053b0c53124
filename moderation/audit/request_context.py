"""The current request, for the audit log and log lines: its user, its origin and its id."""

import ipaddress
import logging
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse

# Actor of commands, which are run without an account.
COMMAND_LINE = "(command line)"
# Actor of requests without a signed-in user.
NOBODY = "(not signed in)"
# Actor of the worker's own steps. Older entries have "system", which could be a user name; this cannot.
WORKER = "(worker)"
MAX_USER_AGENT_LENGTH = 200
HEADER = "X-Request-ID"
# A proxy's id is accepted if it is one plain word in a log line.
IS_AN_ID = re.compile(r"[A-Za-z0-9._:-]{8,100}").fullmatch


log = logging.getLogger(__name__)

# Seconds for which an ignored X-Forwarded-For is remembered, and between two warnings about it.
WARNING_INTERVAL = 3600.0
_ignored_at = float("-inf")

# Key of the request's id in `request.META`.
ID = "console.request_id"
# The request that this thread or task is answering.
_current_request: ContextVar[HttpRequest | None] = ContextVar("present", default=None)


def remember_request(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: set the current request for the audit log and log lines, and send its id (X-Request-ID)."""

    def answer(request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER, "")
        request.META[ID] = given if IS_AN_ID(given) else uuid4().hex
        note_ignored_forwarding(request)
        token = _current_request.set(request)
        try:
            response = get_response(request)
        finally:
            _current_request.reset(token)
        response.headers[HEADER] = request.META[ID]
        return response

    return answer


def request_origin() -> dict[str, str]:
    """Address, user agent and id of the current request; empty in background work and commands."""
    request = _current_request.get()
    if request is None:
        return {}
    agent = request.headers.get("User-Agent", "")[:MAX_USER_AGENT_LENGTH]
    return {
        "address": address(request),
        "user_agent": "".join(char if char.isprintable() else "\ufffd" for char in agent),
        "request_id": request.META[ID],
    }


def address(request: HttpRequest) -> str:
    """The client's address: the peer, or with FORWARDED_HOPS proxies, the peer of the outermost proxy.

    Each proxy appends its peer to X-Forwarded-For, so anything that the client sent itself is further left and is not
    read. A shorter header did not pass through all proxies and is not trusted.
    """
    hops: int = settings.FORWARDED_HOPS
    passed = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
    if hops and len(passed) >= hops:
        try:
            return str(ipaddress.ip_address(passed[-hops]))
        except ValueError:
            pass
    return str(request.META.get("REMOTE_ADDR", ""))


def note_ignored_forwarding(request: HttpRequest) -> None:
    """Log once an hour, and remember, that there seems to be a proxy which FORWARDED_HOPS does not declare."""
    global _ignored_at
    if settings.FORWARDED_HOPS or not settings.HTTPS or "HTTP_X_FORWARDED_FOR" not in request.META:
        return
    if not forwarding_is_ignored():
        log.warning(
            "Requests carry X-Forwarded-For, and FORWARDED_HOPS is 0: everybody seems to come from the proxy's address "
            "in the audit log and where sign-in counts failures. Set FORWARDED_HOPS to the number of proxies."
        )
        _ignored_at = time.monotonic()


def forwarding_is_ignored() -> bool:
    """Whether this process has ignored an X-Forwarded-For within the last hour, as FORWARDED_HOPS is 0."""
    return time.monotonic() - _ignored_at < WARNING_INTERVAL


def current_actor() -> str:
    """User name of the current request; NOBODY for a visitor, COMMAND_LINE outside requests."""
    request = _current_request.get()
    if request is None:
        return COMMAND_LINE
    user = getattr(request, "user", None)
    return user.get_username() if user is not None and user.is_authenticated else NOBODY


class OneLine(logging.Filter):
    """Logging filter that omits the traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        return True


class NameRequest(logging.Filter):
    """Logging filter that adds `request_id` to each record, "-" outside requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Django logs a refused request after its answer, and passes the request along.
        request = _current_request.get() or getattr(record, "request", None)
        record.request_id = request.META.get(ID, "-") if isinstance(request, HttpRequest) else "-"
        return True
