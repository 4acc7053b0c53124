"""Middleware for language and time zone, sessions, known devices, unsent forms and 429 responses."""

import time
from collections.abc import Callable
from datetime import timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation

from moderation.accounts import devices, unsent

# A session ends this long after it began, however recently it was used.
MAX_SESSION_AGE = timedelta(days=7)
# How often the last use is stored: not with every request.
RENEWAL_INTERVAL = timedelta(hours=1)


class PreferencesMiddleware:
    """Activate the signed-in user's language and time zone; visitors get the browser's language.

    Without a zone of their own people get CONSOLE_TIME_ZONE.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated and request.user.language:
            translation.activate(request.user.language)
            request.LANGUAGE_CODE = translation.get_language()
        try:
            timezone.activate(ZoneInfo(getattr(request.user, "timezone", "") or settings.CONSOLE_TIME_ZONE))
        except (ZoneInfoNotFoundError, ValueError):
            timezone.deactivate()
        response = self.get_response(request)
        # LocaleMiddleware wraps this one and would otherwise name the language that it chose itself.
        response.headers["Content-Language"] = translation.get_language() or ""
        return response


def set_retry_after(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Turn the response into a 429 with Retry-After when `attempts.limit_attempts` refused a password check."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        seconds = getattr(request, "retry_after", 0)
        if seconds:
            response.status_code = 429
            response.headers["Retry-After"] = str(seconds)
        return response

    return middleware


def remember_device(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Mark the browser as a known device after a sign-in on any page (`signing_in.record_sign_in`)."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if user := getattr(request, "signed_in_now", None):
            # After the response: the sign-in may have renewed the password's hash.
            devices.remember(request, response, user)
        return response

    return middleware


def renew_session(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Extend a session to SESSION_COOKIE_AGE after its last use, up to MAX_SESSION_AGE.

    Polling by an open page does not count as use, so that an unattended browser is signed out.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated and not is_poll(request):
            now, session = int(time.time()), request.session
            began, used = session.get("began", now), session.get("used", 0)
            if now - used > RENEWAL_INTERVAL.total_seconds():
                session["began"], session["used"] = began, now
                left = int(began + MAX_SESSION_AGE.total_seconds()) - now
                session.set_expiry(max(1, min(settings.SESSION_COOKIE_AGE, left)))
        return get_response(request)

    return middleware


def is_poll(request: HttpRequest) -> bool:
    """Whether an open page polls for updates: such requests carry `seen`."""
    return request.headers.get("HX-Request") == "true" and "seen" in request.GET


def keep_unsent_forms(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Store a form that is posted after the session has ended, for the same user (`accounts/unsent.py`)."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.method == "POST" and response.status_code == 302 and not request.user.is_authenticated:
            unsent.store_and_redirect(request, response)
        return response

    return middleware
