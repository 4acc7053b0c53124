"""What is put right before any view sees it, and after."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.utils.cache import patch_cache_control, patch_vary_headers

# What GoEasy, load balancers and supervisors ask for, with whatever scheme and Host they reach the process.
MACHINES = ("/webhooks/", "/healthz", "/readyz")


def answer_machines(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer MACHINES before anything looks for HTTPS, a host, a session or a CSRF token: they have none."""

    def answer(request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(MACHINES):
            try:
                view, args, kwargs = resolve(request.path_info)
            except Resolver404:
                return get_response(request)
            response: HttpResponse = view(request, *args, **kwargs)
            response.headers.setdefault("Content-Length", str(len(response.content)))
            response.headers.setdefault("Cache-Control", "no-store")
            return response
        return get_response(request)

    return answer


def replace_nul(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Put U+FFFD in the place of a NUL in a query: PostgreSQL takes none, and no id has one. Forms refuse their own."""

    def answer(request: HttpRequest) -> HttpResponse:
        request.META["QUERY_STRING"] = request.META.get("QUERY_STRING", "").replace("%00", "%EF%BF%BD")
        return get_response(request)

    return answer


def keep_private(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """No cache keeps what somebody sees who is signed in: messages of others, on a machine that others may use."""

    def answer(request: HttpRequest) -> HttpResponse:
        was_signed_in = request.user.is_authenticated
        response = get_response(request)
        if request.user.is_authenticated:
            # What answers a POST (a review) is what Back comes to after the next step: a browser that had not kept it
            # would show an error page. Signing out clears it.
            kept = {"no_cache": True} if request.method == "POST" else {"no_store": True}
            patch_cache_control(response, private=True, **kept)
            # At some addresses htmx gets a part of the page.
            patch_vary_headers(response, ["HX-Request"])
        elif was_signed_in:
            response["Clear-Site-Data"] = '"cache"'
        return response

    return answer
