"""Comparison of the archive with GoEasy's history, within the call limits, to fill gaps that the webhook left."""

from __future__ import annotations

import logging
import secrets
import time
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from moderation.applications.models import Application
from moderation.archive.models import Conversation
from moderation.archive.moments import in_ms
from moderation.ingestion import backfill, feed
from moderation.ingestion.backfill import Filled
from moderation.ingestion.models import Feed
from moderation.outbox import admission

log = logging.getLogger(__name__)

# Far more than any history needs: an upper bound against endless reading.
MAX_CALLS = 100_000
# Seconds to wait for a slot before GoEasy counts as busy.
PATIENCE = 60.0
# Conversations are compared while their last message is not older than this.
ACTIVE_FOR = timedelta(days=1)
# In one round, the latest conversations considered, those compared, and the calls for each.
MAX_RECENT = 600
MAX_COMPARED = 60
MAX_CALLS_EACH = 1_000


def fill(conversation: Conversation, *, since: int, max_calls: int = MAX_CALLS, patience: float = PATIENCE) -> Filled:
    """`backfill.fill` in one of the application's slots and at its pace; the problem is "busy" when none is free."""
    owner = f"fill-{secrets.token_hex(8)}"
    deadline = time.monotonic() + patience
    while not admission.take_slots(conversation.application, owner, limit=1):
        if time.monotonic() >= deadline:
            return Filled(problem="busy")
        time.sleep(0.1)

    try:
        return backfill.fill(
            conversation, since=since, max_calls=max_calls, before_each=lambda: admission.renew_slots(owner)
        )
    finally:
        admission.release_slots(owner)


def compare_due() -> int:
    """Compare recently active conversations with history, the least recently read first; return how many.

    Only for applications whose webhook has delivered: others' archives are not expected to be complete.
    """
    compared = 0
    if not settings.FEED_COMPARE_MINUTES:
        return compared
    for state in Feed.objects.filter(first_at__isnull=False).select_related("application"):
        # One application's outage must not delay the others.
        if admission.circuit_of(state.application).is_open:
            continue
        for conversation in due(state.application):
            # Another worker may have taken it.
            mine = Conversation.objects.filter(pk=conversation.pk, history_read_at=conversation.history_read_at)
            if not mine.update(history_read_at=timezone.now()):
                continue
            if (filled := compare(conversation, state)).problem:
                log.warning("conversation %s was not compared with history: %s", conversation.pk, filled.problem)
                break
            compared += 1
    return compared


def due(application: Application) -> list[Conversation]:
    """The application's conversations that are due for comparison."""
    now = timezone.now()
    latest = Conversation.objects.filter(application=application, last_timestamp__gte=in_ms(now - ACTIVE_FOR)).order_by(
        "-last_timestamp", "-id"
    )[:MAX_RECENT]
    until = now - timedelta(minutes=settings.FEED_COMPARE_MINUTES)
    waiting = [each for each in latest if each.history_read_at is None or each.history_read_at <= until]
    return sorted(waiting, key=lambda each: each.history_read_at or until)[:MAX_COMPARED]


def compare(conversation: Conversation, state: Feed) -> Filled:
    """Archive history back to the last comparison, or to the feed's first delivery."""
    began = in_ms(timezone.now() - feed.ON_ITS_WAY)
    since = max(conversation.compared_until, in_ms(state.first_at) if state.first_at else 0)
    filled = fill(conversation, since=since, max_calls=MAX_CALLS_EACH, patience=0)
    if not filled.problem:
        if filled.is_blocked:
            log.warning("conversation %s: not compared beyond messages that cannot be read", conversation.pk)
            return filled
        if not filled.whole:
            log.warning("conversation %s: too much happened to compare all of it with history", conversation.pk)
        Conversation.objects.filter(pk=conversation.pk).update(compared_until=began)
    return filled
