"""The first rows of a list of conversations, which its page asks for again while somebody looks at it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required, permission_required
from django.db.models import QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from moderation.accounts.request_types import AuthenticatedRequest
from moderation.applications.models import Application
from moderation.archive.models import Conversation
from moderation.desk.conversation_rows import rows_of
from moderation.search.forms import ConversationFilter
from recall import attention

LIST_ROWS, PANE_ROWS, HOME_ROWS = 50, 20, 12
ROWS = {"list": LIST_ROWS, "pane": PANE_ROWS, "home": HOME_ROWS}
# What the live rows of a list are filtered by; a list with a search is not live.
FILTERS = ("kind", "app", "needs")


def newest_conversations() -> QuerySet[Conversation]:
    """All conversations, the latest message first."""
    return Conversation.objects.select_related("application").order_by("-last_timestamp", "-id")


def filtered(form: ConversationFilter, in_need: Collection[int] | None) -> QuerySet[Conversation]:
    """Conversations of the form's kinds and applications, newest first; only those in `in_need` unless it is None."""
    conversations = newest_conversations()
    if kinds := form.cleaned_data.get("kind"):
        conversations = conversations.filter(kind__in=kinds)
    if apps := form.cleaned_data.get("app"):
        conversations = conversations.filter(application__in=apps)
    return conversations if in_need is None else conversations.filter(pk__in=in_need)


def wants_action_only(parameters: QueryDict) -> bool:
    """Whether the address asks for the conversations that need a person."""
    return parameters.get("needs") == "action"


def rows_address(place: str, parameters: QueryDict | None = None, **more: int) -> str:
    """Where a list at `place` (a key of ROWS) asks for its rows, with the filters of the page's `parameters`."""
    filters = {name: values for name in FILTERS if parameters and (values := parameters.getlist(name))}
    return f"{reverse('conversation-rows')}?{urlencode({'for': place, **more, **filters}, doseq=True)}"


@login_required
@permission_required("archive.view_conversation", raise_exception=True)
@require_safe
def conversation_rows(request: AuthenticatedRequest) -> HttpResponse:
    """Show the first rows of the list that `?for=` names, filtered as its page is; 204 when it shows them (`?seen=`).

    `open`: the conversation that the page beside the list shows.
    """
    place = request.GET.get("for", "")
    place = place if place in ROWS else "list"
    form = ConversationFilter(request.GET)
    form.is_valid()
    wants_action = wants_action_only(request.GET)
    in_need = attention.conversations_in_need() if place == "list" else set()
    conversations = filtered(form, in_need if wants_action and place == "list" else None)
    opened = request.GET.get("open", "")
    context = {
        "rows": rows_of(request.user, conversations[: ROWS[place]]),
        "many_apps": Application.objects.all()[:2].count() > 1,
        "current": int(opened) if opened.isascii() and opened.isdigit() and len(opened) < 19 else None,
        "needing": len(in_need) if place == "list" else None,
        "wants_action": wants_action,
    }
    response = render(request, "desk/partials/_conversation_rows.html", context)
    seen = hashlib.sha256(response.content).hexdigest()[:16]
    if request.GET.get("seen") == seen:
        return HttpResponse(status=204)
    # The page sends it back with its next request.
    response.headers["X-Rows"] = seen
    return response
