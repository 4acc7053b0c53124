"""Every page in the language and the time zone of the person who reads it; sessions, devices, and 429."""

import time
from collections.abc import Callable
from datetime import timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation

from moderation.accounts import devices, unsent

# A session ends so long after it was last used, and in any case so long after it began.
MAX_SESSION = timedelta(days=7)
# How old its last use may be before it is written down: not with every request.
NOTED_EVERY = timedelta(hours=1)


class PreferencesMiddleware:
    """Activates the signed-in user's language and time zone; a visitor keeps the browser's language and UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            if request.user.language:
                translation.activate(request.user.language)
                request.LANGUAGE_CODE = translation.get_language()
            try:
                timezone.activate(ZoneInfo(request.user.timezone or "UTC"))
            except (ZoneInfoNotFoundError, ValueError):
                timezone.deactivate()
        else:
            timezone.deactivate()
        response = self.get_response(request)
        # LocaleMiddleware stands outside this one and names the language it chose itself.
        response.headers["Content-Language"] = translation.get_language() or ""
        return response


def tell_to_wait(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Make 429 with Retry-After of the page on which `attempts.counted` refused to check a password."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        seconds = getattr(request, "retry_after", 0)
        if seconds:
            response.status_code = 429
            response.headers["Retry-After"] = str(seconds)
        return response

    return answer


def remember_device(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Have the browser keep that somebody signed in with it, by whichever page (`signing_in.signed_in`)."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if user := getattr(request, "signed_in_now", None):
            # As it is stored now: signing in may have renewed the password's hash.
            devices.remember(request, response, user)
        return response

    return answer


def renew_session(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Let a session last SESSION_COOKIE_AGE from its last use, up to MAX_SESSION.

    What a page asks for by itself is no use: a browser that nobody sits at signs out.
    """

    def answer(request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated and not is_poll(request):
            now, session = int(time.time()), request.session
            began, used = session.get("began", now), session.get("used", 0)
            if now - used > NOTED_EVERY.total_seconds():
                session["began"], session["used"] = began, now
                left = int(began + MAX_SESSION.total_seconds()) - now
                session.set_expiry(max(1, min(settings.SESSION_COOKIE_AGE, left)))
        return get_response(request)

    return answer


def is_poll(request: HttpRequest) -> bool:
    """Whether a page asks for its news by itself: such requests say what it has seen."""
    return request.headers.get("HX-Request") == "true" and "seen" in request.GET


def keep_unsent_forms(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Keep what is posted after the session has ended, for the same person (`accounts/unsent.py`)."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.method == "POST" and response.status_code == 302 and not request.user.is_authenticated:
            unsent.answer_ended_session(request, response)
        return response

    return answer
