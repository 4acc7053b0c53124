"""Which recalls need a person, which are in progress, and in which conversations."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import BooleanField, Case, Exists, OuterRef, Q, Value, When
from django.utils import timezone

from recall.models import BEING_CHECKED, LOOKED_FOR, NEEDS_A_PERSON, Recall, RecallBatch

CHECK_IS_OVERDUE = timedelta(minutes=2)
# Recalls that are looked at for the conversations that need a person.
MAX_RECALLS = 500

NEEDS_ACTION, IN_PROGRESS = "needs action", "in progress"


def _undecided() -> Q:
    """Batches that a person has to decide on: a pending check would do it without one, unless it is overdue."""
    overdue = Q(check_at__isnull=True) | Q(check_at__lt=timezone.now() - CHECK_IS_OVERDUE)
    return NEEDS_A_PERSON & (LOOKED_FOR | overdue)


def needs_action() -> Q:
    """Recalls that need a person."""
    undecided = Exists(RecallBatch.objects.filter(_undecided(), recall=OuterRef("pk")))
    return Q(state=Recall.State.STOPPED) | Q(undecided, state=Recall.State.FINISHED)


def in_progress() -> Q:
    """Recalls that wait, are being sent, or are being checked, and need nobody."""
    undecided = Exists(RecallBatch.objects.filter(_undecided(), recall=OuterRef("pk")))
    checking = Exists(RecallBatch.objects.filter(BEING_CHECKED, recall=OuterRef("pk")))
    under_way = [Recall.State.WAITING, Recall.State.SENDING]
    return Q(state__in=under_way) | (Q(checking, state=Recall.State.FINISHED) & ~Q(undecided))


def of_conversations(pks: Iterable[int]) -> dict[int, str]:
    """NEEDS_ACTION or IN_PROGRESS for those of the conversations that have such a recall; one query."""
    # Two flags from one pass over the conversations' recalls (index `recall_by_conversation`).
    of_them = Recall.objects.filter(conversation__in=list(pks)).order_by()
    flagged = of_them.filter(needs_action() | in_progress()).annotate(
        needs=Case(When(needs_action(), then=Value(True)), default=Value(False), output_field=BooleanField())
    )
    states: dict[int, str] = {}
    for pk, needs in flagged.values_list("conversation_id", "needs"):
        states[pk] = NEEDS_ACTION if needs or states.get(pk) == NEEDS_ACTION else IN_PROGRESS
    return states


def conversations_in_need() -> set[int]:
    """Keys of the conversations with a recall that needs a person; of the first MAX_RECALLS of either cause."""
    # With the condition of the index `recall_unfinished`, word for word: SQLite recognises no other.
    unfinished = Recall.objects.filter(state__in=["waiting", "sending", "stopped"])
    stopped = unfinished.filter(state=Recall.State.STOPPED).order_by("not_before")
    undecided = RecallBatch.objects.filter(_undecided(), recall__state=Recall.State.FINISHED).order_by()
    return {
        *stopped.values_list("conversation_id", flat=True)[:MAX_RECALLS],
        *undecided.values_list("recall__conversation_id", flat=True)[:MAX_RECALLS],
    }
