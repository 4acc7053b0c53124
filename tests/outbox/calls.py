"""Calls and batches in any state, and a check that the rows of one call agree."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from moderation.goeasy.client import prepare_recall
from moderation.outbox.models import UNFINISHED, Attempt, Call
from recall.effect import STATE_OF_BATCH
from recall.models import Recall, RecallBatch

FIRST = 1_700_000_000_000


def make_batch(recall: Recall, index: int = 0, size: int = 1, state: str = "pending", **fields: Any) -> RecallBatch:
    """A batch of a recall, with its call."""
    call = Call.objects.create(**call_fields(recall, index, size))
    batch = RecallBatch.objects.create(call=call, recall=recall, index=index, size=size, **fields)
    set_state(RecallBatch.objects.filter(pk=batch.pk), state)
    batch.refresh_from_db()
    return batch


def call_fields(recall: Recall, index: int, size: int) -> dict[str, Any]:
    """Fields of a call that recalls `size` timestamps."""
    prepared = prepare_recall(
        target=recall.conversation.target, timestamps=[FIRST + 100 * index + place for place in range(size)]
    )
    about = {"application": recall.application, "effect": "recall", "position": index, "not_before": timezone.now()}
    return {**about, "method": prepared.method, "path": prepared.path, "body": prepared.body}


def set_state(batches: QuerySet[RecallBatch], state: str) -> None:
    """Set the state of batches and their calls, as the outbox would."""
    lease = timezone.now() + timedelta(seconds=30)
    claim = {"claimed_by": "w", "lease_until": lease} if state == "sending" else {"claimed_by": "", "lease_until": None}
    pks = list(batches.values_list("pk", flat=True))
    for pk in pks:
        is_held = RecallBatch.objects.get(pk=pk).recall.state == Recall.State.STOPPED
        waiting = "held" if is_held else "waiting"
        Call.objects.filter(pk=pk).update(state=waiting if state == "pending" else state, **claim)
    RecallBatch.objects.filter(pk__in=pks).update(state=state)


def lease_ran_out() -> None:
    """Expire all leases, as if their workers were dead."""
    Call.objects.filter(state=Call.State.SENDING).update(lease_until=timezone.now() - timedelta(seconds=1))


def disagreements() -> list[str]:
    """Disagreements between calls, attempts, batches and recalls."""
    differences = []
    for call in Call.objects.filter(effect="recall").select_related("recall_batch__recall"):
        batch = call.recall_batch
        recall = batch.recall
        outcomes = list(call.attempts.order_by("number").values_list("outcome", flat=True))
        says = f"{call.state}; batch {batch.state}; recall {recall.state} {recall.stop_reason}; attempts {outcomes}"
        if STATE_OF_BATCH[call.state] != batch.state:
            differences.append(f"batch: {says}")
        if (Attempt.Outcome.OPEN in outcomes) != (call.state == Call.State.SENDING):
            differences.append(f"open attempt: {says}")
        if call.state in {Call.State.ACCEPTED, Call.State.REFUSED} and outcomes[-1:] != [call.state]:
            differences.append(f"last attempt: {says}")
        if call.state == Call.State.UNKNOWN and outcomes[-1:] not in (["unknown"], []) and not recall.stop_reason:
            differences.append(f"last attempt: {says}")
        if len(outcomes) != call.attempt_count:
            differences.append(f"{call.attempt_count} attempts counted: {says}")
        if call.state == Call.State.HELD and recall.state != Recall.State.STOPPED:
            differences.append(f"held though nobody stopped it: {says}")
        if call.state == Call.State.WAITING and recall.state not in {Recall.State.WAITING, Recall.State.SENDING}:
            differences.append(f"would be sent though the recall is over: {says}")
        if call.state in UNFINISHED and recall.state in {Recall.State.FINISHED, Recall.State.CANCELLED}:
            differences.append(f"left behind: {says}")
    return differences
