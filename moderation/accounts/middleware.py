"""Every page in the language and the time zone of the person who reads it; 429 for who has to wait; known devices."""

from collections.abc import Callable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation

from moderation.accounts import devices


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
