"""A user of an application: everything that is known of them, as a page or as a panel beside a conversation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from django.contrib.auth.decorators import login_required, permission_required
from django.db.models import Q
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from moderation.accounts.request_types import AuthenticatedRequest
from moderation.applications.models import Application
from moderation.archive import timeline
from moderation.archive.events import Searched
from moderation.archive.models import Conversation, Message, Sender
from moderation.archive.names import name_in, titled
from moderation.audit.services import record
from moderation.desk.views.lists import messages_of
from moderation.search import query
from recall.models import Evidence, Recall

# The sender's latest messages that are examined for recalls, conversations and names.
MAX_EXAMINED = 1_000
CONVERSATIONS_SHOWN = 30
MAX_NAMES = 20
# In the panel.
MESSAGES_BESIDE = 20
CONVERSATIONS_BESIDE = 5
# The latest pieces of evidence that are examined for the recalls of a sender's messages.
MAX_EVIDENCE = 200
RECALLS_SHOWN = 5


@dataclass(frozen=True)
class EarlierRecall:
    """A recall and how many of the sender's messages it named."""

    recall: Recall
    number: int


@login_required
@permission_required("archive.view_message", raise_exception=True)
@require_safe
def sender_page(request: AuthenticatedRequest, slug: str) -> HttpResponse:
    """Show what a user of an application (`?id=`, any text) wrote, newest first; where, when, and under which names.

    For htmx it is the panel beside a conversation.
    """
    application = get_object_or_404(Application, slug=slug)
    if not (user_id := request.GET.get("id", "").replace("\0", "")[:255]):
        raise Http404
    criteria = {"app": slug, "sender": user_id}
    record(Searched(actor=request.user.get_username(), page="sender", asked=criteria))
    context = _about(application, user_id) | {"many_apps": Application.objects.all()[:2].count() > 1}
    if request.htmx:
        context["beside"] = context["latest"][:MESSAGES_BESIDE]
        titled(message.conversation for message in context["beside"])
        context["some_conversations"] = context["conversations"][:CONVERSATIONS_BESIDE]
        response = render(request, "desk/partials/_sender_panel.html", context)
    else:
        context |= messages_of(request, query.Wanted(senders=[user_id], applications=[application.pk]))
        response = render(request, "desk/pages/sender.html", context)
    # Both have one address.
    patch_vary_headers(response, ["HX-Request"])
    return response


def _about(application: Application, user_id: str) -> dict[str, Any]:
    """What the archive and our recalls tell of a user."""
    written = Message.objects.filter(sender_id=user_id, conversation__application=application)
    # Names are in the raw messages alone.
    latest = timeline.newest(written.select_related("conversation").defer("recalled_raw"), limit=MAX_EXAMINED)
    conversations = Counter(message.conversation for message in latest).most_common(CONVERSATIONS_SHOWN + 1)
    # Conversations in which only others wrote to this person.
    either = Q(user_a=user_id) | Q(user_b=user_id)
    private = Conversation.objects.filter(either, application=application).order_by("-last_timestamp", "-id")
    among = {conversation for conversation, _number in conversations}
    conversations += [(each, 0) for each in private[: CONVERSATIONS_SHOWN + 1] if each not in among]
    titled(conversation for conversation, _number in conversations)
    dated = [message for message in latest if message.placed_at is None]
    return {
        "application": application,
        "user_id": user_id,
        "sender": Sender.objects.filter(application=application, user_id=user_id).first(),
        "names": _names(latest),
        "first": written.filter(placed_at=None).order_by("timestamp", "id").first()
        if len(latest) == MAX_EXAMINED
        else min(dated, key=attrgetter("timestamp"), default=None),
        # Implausible timestamps do not count for the first and last message.
        "last": max(dated, key=attrgetter("timestamp"), default=None),
        "has_written": bool(latest),
        "latest": latest,
        "looked_at": len(latest),
        "is_all": len(latest) < MAX_EXAMINED,
        "recalled": sum(message.recalled for message in latest),
        "conversations": conversations[:CONVERSATIONS_SHOWN],
        "more_conversations": len(conversations) > CONVERSATIONS_SHOWN,
        "earlier_recalls": _earlier_recalls(application, user_id),
    }


def _names(latest: list[Message]) -> list[str]:
    """The sender's distinct names in these messages, in their order."""
    return list(dict.fromkeys(name for message in latest if (name := name_in(message))))[:MAX_NAMES]


def _earlier_recalls(application: Application, user_id: str) -> list[EarlierRecall]:
    """The newest recalls that named messages of this user, of which evidence was kept."""
    evidence = Evidence.objects.filter(sender_id=user_id, item__recall__conversation__application=application)
    # By row: the order of the requests. No `distinct`, which would read all that there is.
    recalls = evidence.order_by("-id").values_list("item__recall", flat=True)[:MAX_EVIDENCE]
    numbers = Counter(recalls)
    newest = list(numbers)[:RECALLS_SHOWN]
    found = Recall.objects.select_related("actor", "reason").in_bulk(newest)
    return [EarlierRecall(found[pk], numbers[pk]) for pk in newest]
