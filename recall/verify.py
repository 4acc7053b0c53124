"""Reading history for what became of recalled messages: gone, still visible, or no longer to be known.

After every accepted call once (RECALL_VERIFY), and after every call without an answer. Nothing here sends a recall.
goeasy-api.md, "History": absence alone proves nothing.
"""

from __future__ import annotations

import logging
import secrets
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from moderation.archive.backfill import Sight, known_timestamps, survey
from moderation.archive.models import Application, Conversation
from moderation.audit.models import Action
from moderation.audit.services import record
from recall import limits
from recall.models import Evidence, RecallBatch, RecallItem

log = logging.getLogger(__name__)

Verification = RecallItem.Verification
# So many batches are looked for in one go, and so many pages of history are read for them.
MOST_BATCHES = 200
MOST_PAGES = 60
# Who looks for a batch is believed to be at it for so long (seconds).
LEASE = 180.0
# History that cannot be read is read again after this, then twice as long, and so on: six times, some 30 minutes.
FIRST_WAIT = 30.0
MOST_CHECKS = 6


@dataclass
class Checked:
    """What came of looking: numbers of timestamps, by what history showed; `unavailable`: it could not be read."""

    gone: int = 0
    still_visible: int = 0
    unknowable: int = 0
    unavailable: int = 0
    batches: list[RecallBatch] = field(default_factory=list)


def check_due() -> Checked:
    """Look for the messages of the batches whose time to be looked for has come."""
    due = RecallBatch.objects.filter(check_at__lte=timezone.now()).order_by("check_at")
    return check(due.select_related("recall__application", "recall__conversation__application")[:MOST_BATCHES])


def check(batches: Iterable[RecallBatch]) -> Checked:
    """Look for the messages of those of `batches` that nobody else is looking for."""
    checked = Checked()
    by_conversation: dict[Conversation, list[RecallBatch]] = defaultdict(list)
    for batch in batches:
        by_conversation[batch.recall.conversation].append(batch)
    for conversation, some in by_conversation.items():
        if not limits.circuit_of(conversation.application).is_open:
            check_conversation(conversation, some, checked)
    return checked


def check_conversation(conversation: Conversation, batches: list[RecallBatch], checked: Checked) -> None:
    """Read the conversation's history once for all of `batches`, within the application's limits, and record it."""
    owner = f"check-{secrets.token_hex(8)}"
    if not limits.take_slots(conversation.application, owner, most=1):
        return
    try:
        mine = [batch for batch in batches if take(batch)]
        timestamps = {batch.pk: list(batch.items.values_list("timestamp", flat=True)) for batch in mine}
        wanted = [timestamp for some in timestamps.values() for timestamp in some]
        if not wanted:
            return

        def wait() -> None:
            limits.renew_slots(owner)
            limits.wait_for_pace(conversation.application)

        seen = survey(conversation, wanted, pages=MOST_PAGES, before_each=wait)
        known = known_timestamps(conversation, wanted) | set(
            Evidence.objects.filter(item__batch__in=mine).values_list("item__timestamp", flat=True)
        )
        for batch in mine:
            verdicts = {at: verdict(seen.sights.get(at), at in known) for at in timestamps[batch.pk]}
            record_check(batch, verdicts, seen.problem, checked)
    finally:
        limits.release_slots(owner)


def take(batch: RecallBatch) -> bool:
    """Whether this worker, and no other, may look for the batch now."""
    now = timezone.now()
    free = RecallBatch.objects.filter(pk=batch.pk, check_at=batch.check_at)
    return bool(free.update(check_at=now + timedelta(seconds=LEASE)))


def verdict(sight: Sight | None, known: bool) -> str:
    """What a sight proves; empty when nothing was seen yet. `known`: the message is known to have been there."""
    if sight is None:
        return ""
    if sight == Sight.RECALLED or (sight == Sight.ABSENT and known):
        return Verification.GONE
    return Verification.STILL_VISIBLE if sight == Sight.PRESENT else Verification.UNKNOWABLE


def record_check(batch: RecallBatch, verdicts: dict[int, str], problem: str, checked: Checked) -> None:
    """Commit what was seen of the batch's messages, and what follows from it."""
    now = timezone.now()
    last = batch.checks + 1 >= MOST_CHECKS
    if last:
        verdicts = {timestamp: found or Verification.UNKNOWABLE for timestamp, found in verdicts.items()}
    by_verdict: dict[str, list[int]] = defaultdict(list)
    for timestamp, found in sorted(verdicts.items()):
        by_verdict[found].append(timestamp)
    unseen = by_verdict.pop("", [])
    fields: dict[str, object] = {"check_at": None, "checks": batch.checks + 1}
    if unseen:
        # More pages are needed, or history could not be read.
        wait = FIRST_WAIT * 2**batch.checks if problem else 0
        fields["check_at"] = now + timedelta(seconds=wait)
        fields["checks"] = batch.checks + bool(problem)
    settlement = settled_by_history(batch, by_verdict, complete=not unseen)
    with transaction.atomic():
        # Not what was sent again, or decided on, meanwhile.
        still = RecallBatch.objects.select_for_update().filter(
            pk=batch.pk, state=batch.state, attempt_count=batch.attempt_count, settlement=batch.settlement
        )
        if not still.exists():
            return
        still.update(**fields, **({"settlement": settlement} if settlement is not None else {}))
        for found, timestamps in by_verdict.items():
            batch.items.filter(timestamp__in=timestamps).update(verification=found, verified_at=now)
        if by_verdict:
            record(
                actor="system",
                action=Action.VERIFIED,
                app=batch.recall.application.slug,
                conversation=batch.recall.conversation.for_audit(),
                recall=batch.recall_id,
                batch=batch.index,
                attempt=batch.attempt_count,
                timestamps=sorted(verdicts),
                detail={
                    **{found.replace(" ", "_"): timestamps for found, timestamps in by_verdict.items()},
                    **({"settlement": settlement} if settlement else {}),
                    **({"problem": problem} if problem else {}),
                },
            )
    checked.batches.append(batch)
    checked.gone += len(by_verdict.get(Verification.GONE, []))
    checked.still_visible += len(by_verdict.get(Verification.STILL_VISIBLE, []))
    checked.unknowable += len(by_verdict.get(Verification.UNKNOWABLE, []))
    checked.unavailable += len(unseen)


def settled_by_history(batch: RecallBatch, by_verdict: dict[str, list[int]], *, complete: bool) -> str | None:
    """The settlement that history proves; None leaves it as it is."""
    if by_verdict.get(Verification.STILL_VISIBLE):
        return RecallBatch.Settlement.VISIBLE
    if batch.state == RecallBatch.State.UNKNOWN and complete and set(by_verdict) == {Verification.GONE}:
        return RecallBatch.Settlement.GONE
    if batch.settlement == RecallBatch.Settlement.VISIBLE and complete:
        return ""
    return None


def reconcile() -> Checked:
    """Look at once for every call of which nobody knows what became of it."""
    unknown = RecallBatch.objects.filter(state=RecallBatch.State.UNKNOWN, settlement__in=["", "visible"])
    unknown.update(check_at=timezone.now(), checks=0)
    checked = Checked()
    for application in Application.objects.filter(recall__batches__in=unknown).distinct():
        mine = unknown.filter(recall__application=application)
        checked_here = check(mine.select_related("recall__application", "recall__conversation__application"))
        for name in ("gone", "still_visible", "unknowable", "unavailable"):
            setattr(checked, name, getattr(checked, name) + getattr(checked_here, name))
        checked.batches += checked_here.batches
    return checked
