"""Selection of a conversation's messages for a recall."""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import timedelta
from typing import Any

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods

from moderation.accounts.request_types import AuthenticatedRequest
from moderation.archive import timeline
from moderation.archive.messages import read
from moderation.archive.models import Conversation, Message
from moderation.archive.names import writer_of
from recall.forms import TIMESTAMP_PROBLEMS
from recall.models import MAX_TIMESTAMPS, RecallBatch, RecallItem
from recall.services import archived
from recall.timestamps import can_be_named, parse_timestamps, to_ms


@login_required
@permission_required("recall.add_recall", raise_exception=True)
@require_http_methods(["GET", "HEAD", "POST"])
def select_messages(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Return archived messages to select: of a `sender`, a time span (`since`, `until`, in the user's zone), or both;
    by POST, those at pasted `timestamps`. At most the newest 5,000. Messages already recalled are only counted. So are
    those named by a recall, unless they were pasted, which is deliberate.
    """
    conversation = get_object_or_404(Conversation.objects.select_related("application"), pk=pk)
    conversation.record_reading_on("conversation: selection")
    if request.method == "POST":
        parsed = parse_timestamps(request.POST.getlist("timestamps"), now_ms=now_ms())
        wanted = parsed.timestamps[:MAX_TIMESTAMPS]
        messages, more = archived(conversation, wanted), len(parsed.timestamps) > MAX_TIMESTAMPS
        archived_timestamps = {message.timestamp for message in messages}
        about: dict[str, Any] = {
            "unknown": [timestamp for timestamp in wanted if timestamp not in archived_timestamps],
            "rejected": [(piece, f"“{piece[:40]}” {TIMESTAMP_PROBLEMS[why]}") for piece, why in parsed.rejected[:50]],
        }
    else:
        span = {name: request.GET.get(name, "") for name in ("since", "until")}
        sender = request.GET.get("sender")
        since, until = typed_ms(span["since"]), typed_ms(span["until"], whole_second=True)
        # A malformed bound must not select more than intended.
        unread = (span["since"] and since is None) or (span["until"] and until is None)
        if unread or not (sender is not None or since is not None or until is not None):
            return JsonResponse({"problem": "sender, since, until"}, status=400)
        messages = timeline.select(conversation, sender=sender, since=since, until=until, limit=MAX_TIMESTAMPS + 1)
        messages, more, about = messages[-MAX_TIMESTAMPS:], len(messages) > MAX_TIMESTAMPS, {}
    gone, taken = _gone_and_taken(conversation, messages)
    if request.method == "POST":
        taken = set()
    nameable = [each for each in messages if can_be_named(each.timestamp)]
    free = [message for message in nameable if not (message.recalled or message.timestamp in taken)]
    if request.method == "POST":
        about["gone"] = len(gone & {message.timestamp for message in free})
    about |= {"recalled": len(nameable) - len(free), "not_nameable": len(messages) - len(nameable)}
    return JsonResponse({"messages": _selection_entries(conversation, free), "more": more, **about})


def _gone_and_taken(conversation: Conversation, messages: list[Message]) -> tuple[set[int], set[int]]:
    """Return timestamps of `messages` that history has shown to be gone, and timestamps in their span that a recall
    names, except those that GoEasy refused or that history still showed afterwards.
    """
    if not messages:
        return set(), set()
    states, verifications = RecallBatch.State, RecallItem.Verification
    times = {message.timestamp for message in messages}
    named = RecallItem.objects.filter(recall__conversation=conversation, timestamp__range=(min(times), max(times)))
    verified: dict[int, str] = {}
    by_state: dict[str, set[int]] = defaultdict(set)
    rows = named.order_by("recall__created_at").values_list("timestamp", "batch__state", "verification")
    for timestamp, state, verification in rows:
        verified[timestamp] = verification or verified.get(timestamp, "")
        by_state[state].add(timestamp)
    gone = {timestamp for timestamp, verification in verified.items() if verification == verifications.GONE}
    visible = {timestamp for timestamp, verification in verified.items() if verification == verifications.STILL_VISIBLE}
    under_way = by_state[states.PENDING] | by_state[states.SENDING]
    return gone & times, gone | under_way | (by_state[states.ACCEPTED] - visible)


def _selection_entries(conversation: Conversation, messages: list[Message]) -> list[dict[str, Any]]:
    """JSON entries of the page's selection, one per timestamp."""
    senders = timeline.senders(conversation.application, {message.sender_id for message in messages})
    shared = timeline.sharing(conversation, [message.timestamp for message in messages])
    return [
        {
            "timestamp": message.timestamp,
            "sender": message.sender_id,
            "name": writer_of(message, (sender := senders.get(message.sender_id)) and sender.name or "").name,
            "text": read(message.raw).line(),
            "count": shared.get(message.timestamp, 1),
        }
        for message in {message.timestamp: message for message in messages}.values()
    ]


def typed_ms(text: str, *, whole_second: bool = False) -> int | None:
    """Parse the value of a datetime-local input, in the user's zone, to ms; None when it is malformed.

    `whole_second`: a time to the second means its last millisecond, as in "until 10:00:00".
    """
    try:
        at = parse_datetime(text)
    except ValueError:
        return None
    if at is None:
        return None
    at = timezone.make_aware(at) if timezone.is_naive(at) else at
    if whole_second and not at.microsecond:
        at += timedelta(milliseconds=999)
    return to_ms(at)


def now_ms() -> int:
    return time.time_ns() // 1_000_000
