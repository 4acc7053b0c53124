"""Opening anything by its id or name."""

from __future__ import annotations

import re
from uuid import UUID

from django.contrib.auth.decorators import login_required, permission_required
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from moderation.accounts.request_types import AuthenticatedRequest
from moderation.applications.models import Application
from moderation.archive.events import Searched
from moderation.archive.models import Conversation, Kind, Message
from moderation.archive.names import titled
from moderation.audit.services import record
from moderation.search import people
from recall.models import Recall, RecallItem, Sweep

SHOWN = 12
# Each of the first slashes may separate two users' ids.
MAX_SLASHES = 8


TIMESTAMP = re.compile("[0-9]{13}")


@login_required
@permission_required("archive.view_conversation", raise_exception=True)
@require_safe
def jump(request: AuthenticatedRequest) -> HttpResponse:
    """Redirect to the only match of an id or name, or list the matches.

    A person counts as one match; their page lists their conversations.
    """
    text = request.GET.get("q", "").replace("\0", "").strip()[:600]
    if text:
        record(Searched(actor=request.user.get_username(), page="open", asked={"q": text}))
    matches, more = matches_of(text) if text else ([], False)
    if len(matches) == 1 and not more:
        return redirect(matches[0][0])
    pair = [side.strip() for side in text.split("/")] if text.count("/") == 1 else [text, ""]
    context = {
        "q": text,
        "matches": matches,
        "more": more,
        "many_apps": Application.objects.all()[:2].count() > 1,
        "user_a": pair[0],
        "user_b": pair[1],
    }
    return render(request, "desk/pages/jump.html", context)


def matches_of(text: str) -> tuple[list[tuple[str, object]], bool]:
    """Return matches as (URL, object): a recall, people, conversations, messages; and whether there are more."""
    if (uuid := _uuid(text)) and (recall := Recall.objects.filter(pk=uuid).first()):
        return [(recall.get_absolute_url(), recall)], False
    if uuid and (sweep := Sweep.objects.filter(pk=uuid).first()):
        return [(sweep.get_absolute_url(), sweep)], False
    people_by_id = people.with_id(text)
    senders = people_by_id + [sender for sender in people.named(text) if sender.user_id != text]
    matches: list[tuple[str, object]] = [(sender.get_absolute_url(), sender) for sender in senders[:SHOWN]]
    # A matched person's conversations are on that person's page.
    conversations = list(_conversations(text, of_users=not people_by_id).select_related("application")[: SHOWN + 1])
    matches += [(each.get_absolute_url(), each) for each in titled(conversations[:SHOWN])]
    messages = list(_messages(text).select_related("conversation__application")[: SHOWN + 1])
    titled(message.conversation for message in messages[:SHOWN])
    matches += [(f"{each.conversation.get_absolute_url()}?at={each.sort_time}", each) for each in messages[:SHOWN]]
    more = any(len(things) > SHOWN for things in (senders, conversations, messages))
    # A message recalled by its timestamp may never have been archived.
    if not matches and TIMESTAMP.fullmatch(text):
        items = RecallItem.objects.filter(timestamp=int(text)).select_related("recall").order_by("-recall__created_at")
        matches = [(item.recall.get_absolute_url(), item.recall) for item in items[:SHOWN]]
    return matches, more


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _conversations(text: str, *, of_users: bool) -> QuerySet[Conversation]:
    """Conversations by group id or two user ids around a slash (ids may contain slashes); `of_users`: or by one."""
    named = Q(kind=Kind.GROUP, group_id=text)
    if of_users:
        named |= Q(user_a=text) | Q(user_b=text)
    for slash in list(re.finditer("/", text))[:MAX_SLASHES]:
        first, second = sorted((text[: slash.start()].strip(), text[slash.end() :].strip()))
        # A group's conversation has no user, and is not named by nobody.
        if first and second:
            named |= Q(user_a=first, user_b=second)
    return Conversation.objects.filter(named).order_by("-last_timestamp", "-id")


def _messages(text: str) -> QuerySet[Message]:
    """Messages by GoEasy's id or by timestamp (13 digits)."""
    named = Q(message_id=text)
    if TIMESTAMP.fullmatch(text):
        named |= Q(timestamp=int(text))
    return Message.objects.filter(named).order_by(Coalesce("placed_at", "timestamp").desc(), "-id")
