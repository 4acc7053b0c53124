"""Recalls in a database that was put back from a backup: what was sent since the backup was made is not known here.

Nothing of them is sent by itself. Calls that had no outcome then have an unknown one, and history is read for them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.utils import timezone

from moderation.archive.rows import in_parts
from moderation.audit.models import Action, AuditEntry
from moderation.audit.request_context import COMMAND_LINE
from moderation.audit.services import entry, record_all
from recall.models import Recall, RecallAttempt, RecallBatch, RecallItem
from recall.outcomes import UNSENT, ended

States = Recall.State
# `problem` of an attempt that was open when the backup was made.
RESTORED = "restored"


def stop_unfinished(**_signal: Any) -> dict[str, int]:
    """Receiver of `moderation.registry.restored`: returns how many recalls it stopped as `recalls_stopped`.

    Those that had stopped before are among them: a person may have sent the rest since.
    """
    recalls = Recall.objects.filter(
        state__in=[States.WAITING, States.SENDING, States.STOPPED],
        pk__in=RecallBatch.objects.filter(state__in=UNSENT).values("recall"),
    )
    found = list(recalls.select_related("application", "conversation").order_by("created_at", "pk"))
    for some in in_parts(found):
        stop(some)
    return {"recalls_stopped": len(found)}


def stop(recalls: Sequence[Recall]) -> None:
    """Stop `recalls`; the outcome of their calls that had none becomes unknown. Inside a transaction."""
    applications = {recall.application_id: recall.application for recall in recalls}
    attempts = RecallAttempt.objects.filter(batch__recall__in=recalls, outcome=RecallAttempt.Outcome.OPEN)
    lost = [
        unanswered(attempt)
        for attempt in attempts.select_related("batch__recall__application", "batch__recall__conversation")
    ]
    attempts.update(outcome=RecallAttempt.Outcome.UNKNOWN, ended_at=timezone.now(), problem=RESTORED)
    batches = RecallBatch.objects.filter(recall__in=recalls, state__in=UNSENT)
    indexes: dict[UUID, list[int]] = defaultdict(list)
    for recall_id, index in batches.order_by("index").values_list("recall_id", "index"):
        indexes[recall_id].append(index)
    timestamps: dict[UUID, list[int]] = defaultdict(list)
    items = RecallItem.objects.filter(batch__recall__in=recalls, batch__state__in=UNSENT).order_by("timestamp")
    for recall_id, timestamp in items.values_list("recall_id", "timestamp"):
        timestamps[recall_id].append(timestamp)
    for pk, application in applications.items():
        batches.filter(recall__application=pk).update(**ended(RecallBatch.State.UNKNOWN, application))
    Recall.objects.filter(pk__in=[recall.pk for recall in recalls]).update(
        state=States.STOPPED, stop_reason=Recall.StopReason.RESTORED, finished_at=timezone.now()
    )
    stopped = [
        entry(
            actor=COMMAND_LINE,
            action=Action.STOPPED,
            app=recall.application.slug,
            conversation=recall.conversation.for_audit(),
            recall=recall.pk,
            timestamps=timestamps[recall.pk],
            detail={"reason": Recall.StopReason.RESTORED, "was": recall.state, "unknown": indexes[recall.pk]},
        )
        for recall in recalls
    ]
    record_all([*lost, *stopped])


def unanswered(attempt: RecallAttempt) -> AuditEntry:
    """The audit entry of an attempt whose outcome, if there was one, is not in the backup."""
    recall = attempt.batch.recall
    return entry(
        actor=COMMAND_LINE,
        action=Action.UNANSWERED,
        app=recall.application.slug,
        conversation=recall.conversation.for_audit(),
        recall=recall.pk,
        batch=attempt.batch.index,
        attempt=attempt.number,
        timestamps=list(attempt.batch.items.order_by("position").values_list("timestamp", flat=True)),
        detail={"outcome": RecallAttempt.Outcome.UNKNOWN, "problem": RESTORED},
    )
