"""Recalls in a database restored from a backup, which does not know what was sent since the backup was made.

No unfinished recall is sent automatically: calls without an outcome become unknown, and history is read for them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from moderation.archive.rows import in_parts
from moderation.audit.events import Event
from moderation.audit.request_context import COMMAND_LINE
from moderation.audit.services import record_all
from recall.events import RecallStopped
from recall.models import UNSENT, Recall, RecallBatch, RecallItem


def stop_unfinished(lost: Sequence[Event]) -> int:
    """Stop the recalls with calls that had no outcome when the backup was made; return their number.

    Recalls that had stopped before are included: a person may have sent the rest since. `lost`: the audit events of
    the attempts that were open. Inside a transaction.
    """
    recalls = Recall.objects.filter(pk__in=RecallBatch.objects.filter(state__in=UNSENT).values("recall"))
    stopped = list(recalls.select_related("application", "conversation").order_by("created_at", "pk"))
    record_all(lost)
    for some in in_parts(stopped):
        stop(some)
    return len(stopped)


def stop(recalls: Sequence[Recall]) -> None:
    """Stop `recalls` and mark their calls without an outcome as unknown. Inside a transaction."""
    applications = {recall.application_id: recall.application for recall in recalls}
    batches = RecallBatch.objects.filter(recall__in=recalls, state__in=UNSENT)
    indexes: dict[UUID, list[int]] = defaultdict(list)
    for recall_id, index in batches.order_by("index").values_list("recall_id", "index"):
        indexes[recall_id].append(index)
    timestamps: dict[UUID, list[int]] = defaultdict(list)
    items = RecallItem.objects.filter(batch__recall__in=recalls, batch__state__in=UNSENT).order_by("timestamp")
    for recall_id, timestamp in items.values_list("recall_id", "timestamp"):
        timestamps[recall_id].append(timestamp)
    for pk, application in applications.items():
        batches.filter(recall__application=pk).update(
            state=RecallBatch.State.UNKNOWN,
            check_at=timezone.now() + timedelta(seconds=application.verify_after),
            checks=0,
            settlement="",
        )
    Recall.objects.filter(pk__in=[recall.pk for recall in recalls]).update(
        state=Recall.State.STOPPED, stop_reason=Recall.StopReason.RESTORED, finished_at=timezone.now()
    )
    record_all(
        [
            RecallStopped(
                actor=COMMAND_LINE,
                **recall.for_audit(),
                timestamps=timestamps[recall.pk],
                reason=Recall.StopReason.RESTORED,
                was=recall.state,
                unknown=indexes[recall.pk],
            )
            for recall in recalls
        ]
    )
