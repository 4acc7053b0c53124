"""What is put right before any view sees it."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


def replace_nul(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Put U+FFFD in the place of a NUL in a query: PostgreSQL takes none, and no id has one. Forms refuse their own."""

    def answer(request: HttpRequest) -> HttpResponse:
        request.META["QUERY_STRING"] = request.META.get("QUERY_STRING", "").replace("%00", "%EF%BF%BD")
        return get_response(request)

    return answer
