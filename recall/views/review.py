"""Asking for a recall: the form, the review of what would go, and confirming it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods

from moderation import reviewed
from moderation.accounts import unsent
from moderation.accounts.models import User
from moderation.accounts.request_types import AuthenticatedRequest
from moderation.applications.models import Application
from moderation.applications.problems import problem_message
from moderation.archive import timeline
from moderation.archive.models import Conversation, Kind, Message
from moderation.archive.names import Writer, sender_names, titled, writer_of
from moderation.archive.rows import in_parts
from moderation.ingestion.backfill import look_up
from recall import reviews, services
from recall.forms import RecallForm, SweepForm
from recall.models import (
    RecallItem,
    named_by,
)
from recall.views.recalls import SeeOther, in_conversation

PREVIEW_SHOWN = 200
# Messages of the span of a selection that are examined for neighbours of what goes.
MAX_SPAN = 400
BODIES_SHOWN = 25
SHARED_SHOWN = 40
EARLIER_SHOWN = 5


@login_required
@permission_required("recall.add_recall", raise_exception=True)
@require_http_methods(["GET", "HEAD", "POST"])
def recall_new(request: AuthenticatedRequest) -> HttpResponse:
    """The form, the review, and, confirmed, the recall. The query string may fill the form."""
    if request.method != "POST":
        form = RecallForm(initial=_initial(request), actor=request.user)
        return render(request, "recall/pages/recall_new.html", {"form": form})
    form = RecallForm(request.POST, actor=request.user)
    if not form.is_valid():
        return render(request, "recall/pages/recall_new.html", {"form": form})
    if "confirm" not in request.POST or not form.clean_count():
        return _show_review(request, form)
    try:
        recall = services.request_recall(
            conversation=form.conversation(),
            actor=request.user,
            grace_seconds=services.grace_of(request.user),
            seen=reviewed.read(form.cleaned_data["shown"], request.user, review_of(form)),
            **{name: form.cleaned_data[name] for name in ("reason", "note", "timestamps", "recaller", "submission")},
        )
    except services.NotPossible as refusal:
        messages.warning(request, str(refusal.message))
        # With a new submission id the form can be confirmed.
        form.cleaned_data["submission"] = uuid4()
        return _show_review(request, form)
    except reviewed.Changed as changed:
        return _show_review(request, form, changed)
    return SeeOther(in_conversation(recall) if "stay" in request.POST else recall.get_absolute_url())


def review_of(form: RecallForm | SweepForm) -> str:
    """Subject of the token that the review of a valid `form` carries."""
    return f"{type(form).__name__}:{form.cleaned_data['submission']}"


def _initial(request: AuthenticatedRequest) -> dict[str, Any]:
    """Initial values: the query string, and the recaller that clients see for this moderator."""
    return {
        "kind": Kind.PRIVATE,
        **recaller_fields(request.user, request.GET.get("app", "")),
        **request.GET.dict(),
        "timestamps": "\n".join(request.GET.getlist("timestamps")),
        **unsent.initial_values(request, reverse("recall-new")),
    }


def recaller_fields(user: User, app: str) -> dict[str, str]:
    """Form fields of the recaller that clients see for `user` in `app` (a slug; empty: the default application)."""
    application = Application.objects.filter(slug=app or "default").first()
    recaller = services.recaller_for(user, application) if application else None
    if recaller is None:
        return {}
    return {
        "recaller_id": recaller.id,
        "recaller_data": json.dumps(recaller.data, ensure_ascii=False) if recaller.data else "",
    }


def _show_review(
    request: AuthenticatedRequest, form: RecallForm, changed: reviewed.Changed | None = None
) -> HttpResponse:
    """Render the review of a valid `form`: messages, exact calls, and what has `changed` since it was shown."""
    conversation = form.conversation()
    timestamps, recaller = form.cleaned_data["timestamps"], form.cleaned_data["recaller"]
    conversation.record_reading_on("recall: review")
    # Look up what the archive lacks first, so that nobody confirms messages that they cannot see.
    reading = look_up(conversation, timestamps)
    preview = services.preview(conversation=conversation, timestamps=timestamps, recaller=recaller)
    aspects = reviews.of_recall(
        conversation=conversation,
        known=preview.known,
        earlier=preview.earlier,
        **{name: form.cleaned_data[name] for name in ("timestamps", "reason", "note", "recaller", "is_overridden")},
    )
    context = {
        "form": form,
        "shown": reviewed.token(request.user, review_of(form), aspects),
        "changed": changed,
        "conversation": titled([conversation])[0],
        "preview": preview,
        "earlier": _earlier(preview.earlier),
        "timestamps": timestamps,
        "not_shown": len(preview.known[PREVIEW_SHOWN:]),
        "bodies": preview.bodies[:BODIES_SHOWN],
        "more_bodies": len(preview.bodies[BODIES_SHOWN:]),
        "recaller": recaller.as_field() if recaller else None,
        "problem": problem_message(reading.problem) if reading.problem else "",
        "gone": _verified_gone(conversation, timestamps),
        "grace": int(services.grace_of(request.user)),
    }
    # For htmx it is the sheet beside the conversation.
    template = "recall/partials/_review.html" if request.htmx else "recall/pages/recall_review.html"
    response = render(request, template, context | _senders(conversation, preview))
    patch_vary_headers(response, ["HX-Request"])
    return response


def _earlier(items: list[RecallItem]) -> list[dict[str, Any]]:
    """The newest recalls that name messages under review: each with how many, and how their calls stand."""
    by_recall: dict[UUID, list[RecallItem]] = {}
    for item in items:
        by_recall.setdefault(item.recall_id, []).append(item)
    newest = sorted(by_recall.values(), key=lambda some: some[0].recall.created_at, reverse=True)
    return [
        {
            "recall": some[0].recall,
            "count": len(some),
            "states": list(dict.fromkeys(str(item.batch.get_state_display()) for item in some)),
            "verified": list(dict.fromkeys(str(item.get_verification_display()) for item in some if item.verification)),
        }
        for some in newest[:EARLIER_SHOWN]
    ]


def _verified_gone(conversation: Conversation, timestamps: Sequence[int]) -> int:
    """Number of `timestamps` (ms) that history has shown to be gone after our recalls."""
    gone = 0
    for some in in_parts(timestamps):
        named = named_by(RecallItem.objects.filter(recall__conversation=conversation, timestamp__in=some))
        gone += sum(each.is_gone for each in named.values())
    return gone


@dataclass(frozen=True)
class Line:
    """A message of the review. `is_neighbour`: it stands beside what goes, and stays."""

    message: Message
    writer: Writer
    is_neighbour: bool
    is_shared: bool


def _neighbours(conversation: Conversation, shown: Sequence[Message], going: Sequence[Message]) -> list[Message]:
    """The messages that stay directly before and after those `shown` of all that go: between the first and the last
    one, of the first MAX_SPAN messages.
    """
    if not shown:
        return []
    place = attrgetter("sort_time", "pk")
    first, last = min(map(place, shown)), max(map(place, shown))
    between = timeline.page(conversation, after=first, limit=MAX_SPAN) if len(shown) > 1 else []
    gone = {message.pk for message in going}
    found = [*timeline.page(conversation, before=first, limit=1), *timeline.page(conversation, after=last, limit=1)]
    in_order = [min(shown, key=place), *(message for message in between if place(message) <= last)]
    for one, other in pairwise(in_order):
        if (one.pk in gone) != (other.pk in gone):
            found.append(other if one.pk in gone else one)
    return [message for message in found if message.pk not in gone]


def _senders(conversation: Conversation, preview: services.Preview) -> dict[str, Any]:
    """The first messages with their senders' names, and the number of messages of each sender."""
    counts = Counter(message.sender_id for message in preview.known)
    going = preview.known[:PREVIEW_SHOWN]
    shown = sorted({*going, *_neighbours(conversation, going, preview.known)}, key=attrgetter("sort_time", "pk"))
    names = sender_names(conversation.application, {message.sender_id for message in [*shown, *preview.known]})
    shared = [message for messages in preview.shared.values() for message in messages]
    return {
        "shared": [
            (message, writer_of(message, names.get(message.sender_id, ""))) for message in shared[:SHARED_SHOWN]
        ],
        "more_shared": len(shared[SHARED_SHOWN:]),
        "known": [
            Line(
                message,
                writer_of(message, names.get(message.sender_id, "")),
                is_neighbour=message not in going,
                is_shared=message.timestamp in preview.shared,
            )
            for message in shown
        ],
        "senders": [(sender, names.get(sender, sender), count) for sender, count in counts.most_common(8)],
        "more_senders": len(counts) > 8,
    }
