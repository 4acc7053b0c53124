"""Verification of recalled messages against history: gone, still visible, or unknowable.

After every accepted call once (RECALL_VERIFY), and after every call that was refused, unless for its key, or whose
answer does not tell what became of it. Nothing here sends a recall.
docs/goeasy-api.md, "History": absence alone proves nothing.
"""

from __future__ import annotations

import logging
import secrets
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from moderation.applications.models import Application
from moderation.archive.models import Conversation
from moderation.audit.request_context import WORKER
from moderation.audit.services import record
from moderation.goeasy.errors import NotAllowed
from moderation.ingestion.backfill import Visibility, archived_timestamps, survey
from moderation.outbox import admission
from recall.events import CallVerified
from recall.lifecycle import finish_done
from recall.models import NEEDS_A_PERSON, Evidence, Recall, RecallBatch, RecallItem

log = logging.getLogger(__name__)

Verification = RecallItem.Verification
# Batches checked in one run, and pages of history read for them.
MAX_BATCHES = 200
MAX_PAGES = 60
# How long a worker holds a batch that it checks (seconds).
LEASE = 180.0
# Wait before history that could not be read is read again (seconds); it doubles each time, for some 30 minutes.
FIRST_WAIT = 30.0
MAX_CHECKS = 6


@dataclass
class Checked:
    """Result of a run: the number of calls checked, and of their timestamps by what history showed.

    `calls` counts a call once for each check. `unavailable`: timestamps of calls that could not be checked completely,
    because history could not be read or reaches over more pages than one run reads.
    """

    calls: int = 0
    gone: int = 0
    still_visible: int = 0
    unknowable: int = 0
    unavailable: int = 0

    @property
    def seen(self) -> int:
        return self.gone + self.still_visible + self.unknowable


def check_due() -> Checked:
    """Check the batches that are due."""
    checked = Checked()
    for application in Application.objects.all():
        due = RecallBatch.objects.filter(recall__application=application, check_at__lte=timezone.now())
        # A failing application must not delay the others.
        if is_well(application, due):
            check(due.order_by("check_at")[:MAX_BATCHES], checked)
    return checked


def is_well(application: Application, due: QuerySet[RecallBatch]) -> bool:
    """Whether the application's circuit is closed; probes an open one when no call waits that would probe it."""
    circuit = admission.circuit_of(application)
    if not circuit.is_open:
        return True
    unsent = RecallBatch.objects.filter(
        state=RecallBatch.State.PENDING, recall__application=application, recall__state=Recall.State.SENDING
    )
    batch = due.select_related("recall__conversation").first()
    if batch is None or unsent.exists() or not admission.take_probe(circuit):
        return False
    try:
        if not admission.probe_by_history(application, batch.recall.conversation.target):
            return False
    except NotAllowed:
        return False
    admission.note_answer(circuit)
    return True


def check(batches: QuerySet[RecallBatch], checked: Checked) -> None:
    """Check those of `batches` that no other worker is checking."""
    by_conversation: dict[Conversation, list[RecallBatch]] = defaultdict(list)
    for batch in batches.select_related("call", "recall__application", "recall__conversation__application"):
        by_conversation[batch.recall.conversation].append(batch)
    for conversation, some in by_conversation.items():
        check_conversation(conversation, some, checked)


def check_conversation(conversation: Conversation, batches: list[RecallBatch], checked: Checked) -> None:
    """Read the conversation's history once for all `batches`, within the application's limits; record the results."""
    owner = f"check-{secrets.token_hex(8)}"
    if not admission.take_slots(conversation.application, owner, limit=1):
        return
    try:
        mine = [batch for batch in batches if take(batch)]
        timestamps = {batch.pk: list(batch.items.values_list("timestamp", flat=True)) for batch in mine}
        wanted = [timestamp for some in timestamps.values() for timestamp in some]
        if not wanted:
            return

        seen = survey(conversation, wanted, pages=MAX_PAGES, before_each=lambda: admission.renew_slots(owner))
        known = archived_timestamps(conversation, wanted) | set(
            Evidence.objects.filter(item__batch__in=mine).values_list("item__timestamp", flat=True)
        )
        for batch in mine:
            verdicts = {at: verdict(seen.visibility.get(at), at in known) for at in timestamps[batch.pk]}
            record_check(batch, verdicts, seen.problem, checked)
    finally:
        admission.release_slots(owner)


def take(batch: RecallBatch) -> bool:
    """Claim the batch for this worker; False when another worker was first."""
    lease = timezone.now() + timedelta(seconds=LEASE)
    taken = RecallBatch.objects.filter(pk=batch.pk, check_at=batch.check_at).update(check_at=lease)
    batch.check_at = lease
    return bool(taken)


def verdict(visibility: Visibility | None, known: bool) -> str:
    """What history proves; empty when nothing was read yet. `known`: the message is known to have existed."""
    if visibility is None:
        return ""
    if visibility == Visibility.RECALLED or (visibility == Visibility.ABSENT and known):
        return Verification.GONE
    return Verification.STILL_VISIBLE if visibility == Visibility.PRESENT else Verification.UNKNOWABLE


def record_check(batch: RecallBatch, verdicts: dict[int, str], problem: str, checked: Checked) -> None:
    """Commit what history showed of all of the batch's messages and its consequences, or schedule another check."""
    now = timezone.now()
    checked.calls += 1
    incomplete = "" in verdicts.values()
    if incomplete and not (problem and batch.checks + 1 >= MAX_CHECKS):
        # More pages are needed, or history could not be read.
        RecallBatch.objects.filter(pk=batch.pk, check_at=batch.check_at).update(
            check_at=now + timedelta(seconds=FIRST_WAIT * 2**batch.checks if problem else 0),
            checks=batch.checks + bool(problem),
        )
        checked.unavailable += len(verdicts)
        return
    by_verdict: dict[str, list[int]] = defaultdict(list)
    for timestamp, outcome in sorted(verdicts.items()):
        by_verdict[outcome or Verification.UNKNOWABLE].append(timestamp)
    settlement = settled_by_history(batch, by_verdict)
    conversation = batch.recall.conversation
    with transaction.atomic():
        # Lock the conversation before its calls, in one order everywhere: other calls learn what is gone, too.
        Conversation.objects.select_for_update(no_key=True).get(pk=conversation.pk)
        # Skip a batch that was sent again, decided on, answered late or checked by another worker meanwhile.
        still = RecallBatch.objects.select_for_update(of=("self",)).filter(
            pk=batch.pk, state=batch.state, call__attempt_count=batch.call.attempt_count, check_at=batch.check_at
        )
        if not still.exists():
            return
        still.update(check_at=None, checks=batch.checks + 1, settlement=settlement)
        for outcome, timestamps in by_verdict.items():
            batch.items.filter(timestamp__in=timestamps).update(verification=outcome, verified_at=now)
        learn_elsewhere(batch, by_verdict[Verification.GONE], now)
        record(
            CallVerified(
                actor=WORKER,
                **batch.recall.for_audit(),
                batch=batch.index,
                attempt=batch.call.attempt_count,
                timestamps=sorted(verdicts),
                gone=by_verdict.get(Verification.GONE),
                still_visible=by_verdict.get(Verification.STILL_VISIBLE),
                unknowable=by_verdict.get(Verification.UNKNOWABLE),
                settlement=settlement or None,
                problem=problem or None,
            )
        )
    if batch.recall.stop_reason == Recall.StopReason.RESTORED:
        # This may have been its last unknown call.
        finish_done({batch.recall_id})
    checked.gone += len(by_verdict[Verification.GONE])
    checked.still_visible += len(by_verdict[Verification.STILL_VISIBLE])
    checked.unknowable += len(by_verdict[Verification.UNKNOWABLE])


def learn_elsewhere(batch: RecallBatch, gone: list[int], now: datetime) -> None:
    """Update earlier recalls whose messages at `gone` (ms) were still visible: they are gone now."""
    conversation, settlements = batch.recall.conversation, RecallBatch.Settlement
    items = RecallItem.objects.filter(
        recall__conversation=conversation, timestamp__in=gone, verification=Verification.STILL_VISIBLE
    ).exclude(batch=batch)
    learned: dict[int, list[int]] = defaultdict(list)
    for pk, timestamp in items.order_by("batch", "timestamp").values_list("batch", "timestamp"):
        learned[pk].append(timestamp)
    items.update(verification=Verification.GONE, verified_at=now)
    others = RecallBatch.objects.filter(pk__in=learned).select_related(
        "call", "recall__application", "recall__conversation"
    )
    for other in others.order_by("pk"):
        settlement = other.settlement
        # Keep what a person has decided.
        if settlement == settlements.VISIBLE and not other.items.exclude(verification=Verification.GONE).exists():
            settlement = settled_by_history(other, {Verification.GONE: learned[other.pk]})
            RecallBatch.objects.filter(pk=other.pk).update(settlement=settlement)
        record(
            CallVerified(
                actor=WORKER,
                **other.recall.for_audit(),
                batch=other.index,
                attempt=other.call.attempt_count,
                timestamps=learned[other.pk],
                gone=learned[other.pk],
                settlement=settlement or None,
                seen_by_recall=batch.recall_id,
            )
        )


def settled_by_history(batch: RecallBatch, by_verdict: dict[str, list[int]]) -> str:
    """The settlement that history proves; without proof UNUSUAL stays and anything else has none."""
    settlements, unusual = RecallBatch.Settlement, batch.settlement == RecallBatch.Settlement.UNUSUAL
    if by_verdict.get(Verification.STILL_VISIBLE):
        return settlements.VISIBLE
    answer_settles = batch.state == RecallBatch.State.ACCEPTED and not unusual
    if set(by_verdict) == {Verification.GONE} and not answer_settles:
        return settlements.GONE
    return settlements.UNUSUAL if unusual else ""


def reconcile() -> Checked:
    """Check every call with an unknown outcome now, whatever the state of the circuit.

    Calls that could not be checked, or that another worker is checking, stay due; a worker continues with them.
    """
    unknown = RecallBatch.objects.filter(NEEDS_A_PERSON, state=RecallBatch.State.UNKNOWN)
    unknown.update(check_at=timezone.now(), checks=0)
    checked = Checked()
    all_of_them: set[int] = set()
    out_of_reach: set[int] = set()
    while True:
        due = unknown.filter(check_at__lte=timezone.now()).exclude(pk__in=out_of_reach).order_by("check_at", "pk")
        some = set(due.values_list("pk", flat=True)[:MAX_BATCHES])
        if not some:
            break
        all_of_them |= some
        before = checked.seen
        check(RecallBatch.objects.filter(pk__in=some), checked)
        if checked.seen == before:
            out_of_reach |= some
    left = unknown.filter(pk__in=all_of_them, check_at__isnull=False)
    checked.calls, checked.unavailable = len(all_of_them), sum(left.values_list("size", flat=True))
    return checked
