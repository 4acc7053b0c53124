"""The end of a recall: stopped until a person acts, or finished because nothing is left to send."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from moderation.applications.models import Application
from moderation.audit.request_context import WORKER
from moderation.audit.services import record
from moderation.outbox.models import Call
from recall.events import RecallStopped
from recall.models import NEEDS_A_PERSON, UNSENT, Recall, RecallBatch


def stop_all(application: Application, reason: Recall.StopReason) -> None:
    """`stop()` every recall of the application that is being sent."""
    # Always in the same order, because each stays locked until all are stopped.
    for recall in Recall.objects.filter(application=application).begun().order_by("pk"):
        stop(recall, reason)


def stop(recall: Recall, reason: Recall.StopReason) -> None:
    """Send nothing more of the recall until a person has acted."""
    with transaction.atomic():
        stopped = (
            Recall.objects.filter(pk=recall.pk)
            .begun()
            .update(state=Recall.State.STOPPED, stop_reason=reason, finished_at=timezone.now())
        )
        if stopped:
            Call.objects.filter(recall_batch__recall=recall).hold()
            record(RecallStopped(actor=WORKER, **recall.for_audit(), reason=reason))


def finish_done(recalls: Iterable[UUID]) -> None:
    """Finish those of `recalls` (ids) that have no batch left to send or being sent."""
    left = RecallBatch.objects.filter(recall=OuterRef("pk"), state__in=UNSENT)
    states = Recall.State
    done = Recall.objects.filter(~Exists(left), pk__in=list(recalls))
    # Only a person makes a batch unsent again, and not while its recall is being sent: one statement is enough.
    done.begun().update(state=states.FINISHED, finished_at=timezone.now())
    for recall in done.filter(state=states.STOPPED):
        with transaction.atomic():
            locked = Recall.objects.select_for_update(of=("self",)).get(pk=recall.pk)
            if locked.state != states.STOPPED:
                continue
            if locked.batches.filter(state__in=UNSENT).exists():
                continue
            # After a restore nothing is unsent, but a person may have to decide.
            is_restored = locked.stop_reason == Recall.StopReason.RESTORED
            if locked.batches.filter(NEEDS_A_PERSON if is_restored else Q(state=RecallBatch.State.REFUSED)).exists():
                continue
            locked.state = states.FINISHED
            locked.stop_reason = ""
            locked.finished_at = timezone.now()
            locked.save(update_fields=["state", "stop_reason", "finished_at"])
