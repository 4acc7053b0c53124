"""The request in which something is recorded: whose it is, from where, and under which id it stands in the logs."""

import ipaddress
import logging
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse

# The actor of what somebody with a shell on the machine does without an account.
COMMAND_LINE = "(command line)"
# The actor of what a visitor does.
NOBODY = "(not signed in)"
# The actor of what the worker finds or decides by itself; of entries before there was this name, "system", which an
# account could have. No user name has parentheses.
WORKER = "(worker)"
MAX_USER_AGENT_LENGTH = 200
HEADER = "X-Request-ID"
# An id that a proxy gave: nothing that could be taken for more than one word of a log line.
IS_AN_ID = re.compile(r"[A-Za-z0-9._:-]{8,100}").fullmatch


log = logging.getLogger(__name__)

# For how long (seconds) an ignored X-Forwarded-For is remembered, and how often it is logged at most.
REMEMBERED = 3600.0
_ignored_at = float("-inf")

# Where a request keeps its id.
ID = "console.request_id"
# The request that is being answered.
_present: ContextVar[HttpRequest | None] = ContextVar("present", default=None)


def remember_request(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Make the request known to what is recorded or logged while it is answered; send its id (X-Request-ID)."""

    def answer(request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER, "")
        request.META[ID] = given if IS_AN_ID(given) else uuid4().hex
        note_ignored_forwarding(request)
        token = _present.set(request)
        try:
            response = get_response(request)
        finally:
            _present.reset(token)
        response.headers[HEADER] = request.META[ID]
        return response

    return answer


def request_origin() -> dict[str, str]:
    """Address, user agent and id of the request that is being answered; empty in background work and commands."""
    request = _present.get()
    if request is None:
        return {}
    agent = request.headers.get("User-Agent", "")[:MAX_USER_AGENT_LENGTH]
    return {
        "address": address(request),
        "user_agent": "".join(char if char.isprintable() else "\ufffd" for char in agent),
        "request_id": request.META[ID],
    }


def address(request: HttpRequest) -> str:
    """Who connected: to us or, with FORWARDED_HOPS proxies before us, to the outermost of those.

    Each proxy appends to X-Forwarded-For who connected to it, so that what a client wrote there itself stands
    further left than is looked. A header that is shorter came round the proxies and is not believed.
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
    """Remember, and log once an hour, that a proxy seems to stand before the console and nobody has said so."""
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
    """Whether this process received an X-Forwarded-For within the last hour and ignored it, as FORWARDED_HOPS is 0."""
    return time.monotonic() - _ignored_at < REMEMBERED


def current_actor() -> str:
    """The user name of whoever's request is being answered, NOBODY for a visitor, COMMAND_LINE outside requests."""
    request = _present.get()
    if request is None:
        return COMMAND_LINE
    user = getattr(request, "user", None)
    return user.get_username() if user is not None and user.is_authenticated else NOBODY


class OneLine(logging.Filter):
    """Omits the traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        return True


class NameRequest(logging.Filter):
    """Gives each log record the `request_id` of its request, "-" outside requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Django tells of a refused request when it is answered already, and names it.
        request = _present.get() or getattr(record, "request", None)
        record.request_id = request.META.get(ID, "-") if isinstance(request, HttpRequest) else "-"
        return True
