"""The columns of the log's list: a few are always shown, the others by choice, which the browser remembers."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

# Columns by choice, in their order.
CHOICES = {
    "actor_name": _("actor"),
    "action_name": _("action"),
    "conversation_ids": _("conversation"),
    "recall_link": _("recall"),
    "app": _("application"),
    "timestamp_count": _("timestamps"),
    "http_status": _("HTTP status"),
    "latency": _("latency"),
}
DEFAULT = ("recall_link",)
COOKIE = "audit_columns"
SECONDS = 365 * 24 * 3600


def chosen(request: HttpRequest) -> tuple[str, ...]:
    """The columns that this browser shows beside those that are always there."""
    kept = request.COOKIES.get(COOKIE)
    return DEFAULT if kept is None else tuple(name for name in CHOICES if name in kept.split("."))


def choices(request: HttpRequest) -> list[dict[str, Any]]:
    """Each column by choice, and whether it is shown."""
    shown = chosen(request)
    return [{"name": name, "label": label, "is_shown": name in shown} for name, label in CHOICES.items()]


def remember(response: HttpResponse, names: Iterable[str]) -> None:
    """Have the browser remember these columns; others are ignored."""
    kept = ".".join(name for name in CHOICES if name in set(names))
    response.set_cookie(COOKIE, kept, SECONDS, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Lax")
