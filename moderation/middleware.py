"""Middleware for machine endpoints, NUL characters in queries, and caching."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.utils.cache import patch_cache_control, patch_vary_headers

# Requested by GoEasy, load balancers and supervisors, with any scheme and Host header.
MACHINE_PATHS = ("/webhooks/", "/healthz", "/readyz")


def serve_machine_endpoints(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Serve MACHINE_PATHS without checks of HTTPS, host, session and CSRF token: their clients send none."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(MACHINE_PATHS):
            try:
                view, args, kwargs = resolve(request.path_info)
            except Resolver404:
                return get_response(request)
            response: HttpResponse = view(request, *args, **kwargs)
            response.headers.setdefault("Content-Length", str(len(response.content)))
            response.headers.setdefault("Cache-Control", "no-store")
            return response
        return get_response(request)

    return middleware


def replace_nul(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Replace NUL in the query string by U+FFFD, because PostgreSQL refuses it. Forms refuse NUL themselves."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.META["QUERY_STRING"] = request.META.get("QUERY_STRING", "").replace("%00", "%EF%BF%BD")
        return get_response(request)

    return middleware


def keep_private(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Keep pages of signed-in users out of caches: others may use the same machine."""

    def middleware(request: HttpRequest) -> HttpResponse:
        was_signed_in = request.user.is_authenticated
        response = get_response(request)
        if request.user.is_authenticated:
            # The response to a POST (a review) may be stored: otherwise the Back button would show an error page.
            # Signing out clears it.
            caching = {"no_cache": True} if request.method == "POST" else {"no_store": True}
            patch_cache_control(response, private=True, **caching)
            # htmx gets a partial page from some URLs.
            patch_vary_headers(response, ["HX-Request"])
        elif was_signed_in:
            response["Clear-Site-Data"] = '"cache"'
        return response

    return middleware
