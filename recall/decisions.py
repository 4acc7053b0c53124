"""Decisions on a requested recall: calling it off, sending again what was not taken back, settling unknown outcomes.

The `to_…` functions return what a page shows of a decision, in the form of `moderation.reviewed`; the decision is
carried out only while that is still true.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from moderation.accounts.models import User
from moderation.archive.rows import in_parts
from moderation.audit.services import record, record_all
from moderation.outbox import tasks
from moderation.outbox.models import Call, Circuit
from moderation.reviewed import Aspects, Changed, Seen, aspect, not_shown_error
from recall.events import RecallCancelled, RecallRequested, RecallSettled
from recall.lifecycle import finish_done
from recall.models import LOOKED_FOR, MAX_NOTE_LENGTH, NEEDS_A_PERSON, Recall, RecallBatch, RecallItem
from recall.services import NotPossible, senders_of

# What may be sent again: what was never sent, what GoEasy refused unless history shows it gone, and what history still
# shows. What is unknown is not among it: nobody knows that it did not take effect.
MAY_BE_SENT_AGAIN = (
    Q(state=RecallBatch.State.PENDING)
    | Q(state=RecallBatch.State.REFUSED, settlement="")
    | Q(
        state__in=[RecallBatch.State.REFUSED, RecallBatch.State.UNKNOWN, RecallBatch.State.ACCEPTED],
        settlement=RecallBatch.Settlement.VISIBLE,
    )
)
RETRIED_FROM = (Recall.State.STOPPED, Recall.State.FINISHED)


def to_cancel(recalls: QuerySet[Recall]) -> Aspects:
    """The sending of `recalls` that may be cancelled: the latest requested one.

    Its progress is not part of it: it changes by itself, and cancelling is a matter of seconds.
    """
    return {"sending": aspect([recalls.aggregate(at=Max("not_before"))["at"]])}


def to_send_again(recalls: QuerySet[Recall]) -> Aspects:
    """Which calls of `recalls` may be sent again, and why."""
    batches = RecallBatch.objects.filter(MAY_BE_SENT_AGAIN, recall__in=recalls.filter(state__in=RETRIED_FROM))
    return {"calls": _calls(batches), **to_cancel(recalls)}


def to_settle(recall: Recall) -> Aspects:
    """The calls that a person has to decide on, and what history shows of their messages."""
    batches = recall.batches.filter(NEEDS_A_PERSON, LOOKED_FOR)
    items = RecallItem.objects.filter(batch__in=batches).order_by("verification").values_list("verification")
    return {"calls": _calls(batches), "messages": aspect(items.annotate(Count("pk")))}


def _calls(batches: QuerySet[RecallBatch]) -> tuple[int, str]:
    """Aspect of calls: their number in each state, and the sum of their keys."""
    return aspect(
        batches.order_by("state", "settlement").values_list("state", "settlement").annotate(Count("pk"), Sum("pk"))
    )


def check(seen: Seen | None, now: Aspects) -> None:
    """Raise Changed unless `seen` equals `now`; None: nobody was shown anything (a command)."""
    if seen and not seen.aspects:
        raise not_shown_error()
    if seen and seen.differences(now):
        raise Changed([gettext("This has changed since you looked. Nothing was done: look at it again.")])


def cancel_recall(recall: Recall, actor: User, seen: Seen | None = None) -> int:
    """Cancel the calls that have not left; return the number of their timestamps.

    `seen`: what the person was shown. Raises NotPossible when none is left, and Changed.
    """
    this = Recall.objects.filter(pk=recall.pk)
    with transaction.atomic():
        recalls = locked(this)
        if not recall.batches.filter(state=RecallBatch.State.PENDING).exists():
            raise nothing_to_cancel(recall.batches.all())
        check(seen, to_cancel(this))
        return call_off(recalls, actor)


def nothing_to_cancel(batches: QuerySet[RecallBatch]) -> NotPossible:
    """Why nothing of `batches` can be cancelled any more."""
    if batches.filter(state=RecallBatch.State.CANCELLED).exists():
        return NotPossible(_("It is cancelled already: nothing is left to cancel."))
    if batches.filter(recall__stop_reason=Recall.StopReason.RESTORED).exists():
        return NotPossible(_("Nothing is sent by itself after a restore: nothing is left to cancel."))
    return NotPossible(_("Everything has been sent already: nothing is left to cancel."))


def locked(recalls: QuerySet[Recall]) -> list[Recall]:
    """Lock `recalls` until this transaction ends, and return them."""
    recalls = recalls.select_for_update(of=("self",)).order_by("pk")
    return list(recalls.select_related("conversation", "application"))


def call_off(recalls: list[Recall], actor: User) -> int:
    """Cancel the calls of `recalls`, which are `locked()`, that have not left; return the number of timestamps."""
    states = Recall.State
    count = 0
    for some in in_parts(recalls):
        batches = RecallBatch.objects.filter(recall__in=some)
        unsent = batches.filter(state=RecallBatch.State.PENDING)
        lock_calls(unsent)
        indexes = _by_recall(unsent.order_by("index").values_list("recall_id", "index"))
        timestamps = _timestamps(some, Q(batch__state=RecallBatch.State.PENDING))
        Call.objects.filter(recall_batch__in=unsent).cancel()
        unsent.update(state=RecallBatch.State.CANCELLED)
        under_way = set(batches.filter(state=RecallBatch.State.SENDING).values_list("recall_id", flat=True))
        something_left = set(batches.exclude(state=RecallBatch.State.CANCELLED).values_list("recall_id", flat=True))
        touched = [recall for recall in some if recall.pk in indexes]
        for recall in touched:
            if recall.pk not in under_way:
                recall.state = states.FINISHED if recall.pk in something_left else states.CANCELLED
                recall.stop_reason = ""
                recall.finished_at = timezone.now()
        Recall.objects.bulk_update(touched, ["state", "stop_reason", "finished_at"])
        record_all(
            [
                RecallCancelled(
                    actor=actor.get_username(),
                    **recall.for_audit(),
                    timestamps=timestamps[recall.pk],
                    batches=indexes[recall.pk],
                )
                for recall in touched
            ]
        )
        count += sum(len(timestamps[recall.pk]) for recall in touched)
    return count


def lock_calls(batches: QuerySet[RecallBatch]) -> None:
    """Lock the calls of `batches`: nobody sends them or records an answer before this transaction ends."""
    list(Call.objects.select_for_update(of=("self",)).filter(recall_batch__in=batches).values_list("pk"))


def retry_size(recalls: QuerySet[Recall]) -> int:
    """How many timestamps of `recalls` would be sent again: they were refused, never left, or are still visible."""
    batches = RecallBatch.objects.filter(MAY_BE_SENT_AGAIN, recall__in=recalls.filter(state__in=RETRIED_FROM))
    return batches.aggregate(size=Sum("size"))["size"] or 0


def retry_recall(recall: Recall, actor: User, seen: Seen | None = None) -> int:
    """Send again what was refused, never left, or is still visible; return the number of calls.

    Each call is a new attempt; the earlier ones stay. `seen`: what the person was shown. Raises NotPossible, Changed.
    """
    this = Recall.objects.filter(pk=recall.pk)
    with transaction.atomic():
        recalls = locked(this)
        if recalls[0].state not in RETRIED_FROM:
            raise NotPossible(_("This recall is still in progress."))
        if not recall.batches.filter(MAY_BE_SENT_AGAIN).exists():
            raise NotPossible(_("Nothing of this recall was refused, not sent or is still visible."))
        check(seen, to_send_again(this))
        return resend(recalls, MAY_BE_SENT_AGAIN, actor)


def settle_unknown(recall: Recall, actor: User, *, send_again: bool, note: str, seen: Seen | None = None) -> int:
    """Record a person's decision on the calls with an unknown outcome; return the number of those calls.

    `send_again`: they become new attempts; otherwise they stay as they are and need no decision any more. `note`
    gives the reason (1 to 2,000 characters). Calls for which history was not read yet are
    not included. `seen`: what the person was shown. Raises NotPossible, Changed.
    """
    if not note.strip():
        raise NotPossible(_("Write a note: why do you decide so?"))
    if len(note) > MAX_NOTE_LENGTH:
        raise NotPossible(_("The note is longer than %(most)d characters.") % {"most": MAX_NOTE_LENGTH})
    with transaction.atomic():
        (recall,) = locked(Recall.objects.filter(pk=recall.pk))
        if recall.state not in RETRIED_FROM:
            raise NotPossible(_("This recall is still in progress."))
        undecided = recall.batches.filter(NEEDS_A_PERSON)
        lock_calls(undecided)
        indexes = list(undecided.filter(LOOKED_FOR).values_list("index", flat=True))
        if not indexes and undecided.exists():
            raise NotPossible(_("GoEasy’s history is still being checked. Decide after that."))
        if not indexes:
            raise NotPossible(_("Nothing of this recall needs a decision any more."))
        check(seen, to_settle(recall))
        recall.batches.filter(index__in=indexes).update(
            settlement=RecallBatch.Settlement.DECIDED,
            settled_by=actor.get_username(),
            settlement_note=note,
            check_at=None,
        )
        timestamps = _timestamps([recall], Q(batch__index__in=indexes))[recall.pk]
        record(
            RecallSettled(
                actor=actor.get_username(),
                **recall.for_audit(),
                timestamps=timestamps,
                batches=indexes,
                send_again=send_again,
                note=note,
            )
        )
        if send_again:
            resend([recall], Q(index__in=indexes), actor, note=note)
        finish_done([recall.pk])
    return len(indexes)


def resend(recalls: list[Recall], which: Q, actor: User, *, note: str = "") -> int:
    """Send the batches of `recalls` (which are `locked()`) that match `which` as if for the first time.

    In the name of `actor`. Return the number of batches.
    """
    count = 0
    for some in in_parts(recalls):
        batches = RecallBatch.objects.filter(which, recall__in=some)
        # Lock them, so that a late answer is not overwritten.
        lock_calls(batches)
        keys = list(batches.order_by("index").values_list("pk", "recall_id", "index"))
        indexes = _by_recall((recall_id, index) for _pk, recall_id, index in keys)
        timestamps: dict[UUID, list[int]] = defaultdict(list)
        for part in in_parts([pk for pk, _recall_id, _index in keys]):
            # Batches in order, and their timestamps in order: both ascend.
            items = RecallItem.objects.filter(batch__in=part)
            in_order = items.order_by("batch__index", "position").values_list("recall_id", "timestamp")
            for recall_id, timestamp in in_order:
                timestamps[recall_id].append(timestamp)
            items.update(verification="", verified_at=None)
            Call.objects.filter(pk__in=part).release()
            RecallBatch.objects.filter(pk__in=part).update(
                state=RecallBatch.State.PENDING,
                check_at=None,
                checks=0,
                settlement="",
                settled_by="",
                settlement_note="",
            )
        touched = [recall for recall in some if recall.pk in indexes]
        Recall.objects.filter(pk__in=[recall.pk for recall in touched]).update(
            state=Recall.State.SENDING,
            stop_reason="",
            finished_at=None,
            not_before=timezone.now(),
            sent_for=actor.get_username(),
        )
        senders = senders_of({recall.pk: timestamps[recall.pk] for recall in touched})
        record_all(
            [
                RecallRequested(
                    actor=actor.get_username(),
                    **recall.for_audit(),
                    timestamps=timestamps[recall.pk],
                    again=True,
                    batches=indexes[recall.pk],
                    note=note,
                    senders=senders[recall.pk],
                )
                for recall in touched
            ]
        )
        count += len(keys)
    if count:
        # A person decided, so try GoEasy at once. One task is enough: it sends everything that is due.
        Circuit.objects.filter(application=recalls[0].application).update(probe_at=None)
        tasks.wake(recalls[0].application, timezone.now())
    return count


def _by_recall(pairs: Iterable[tuple[UUID, int]]) -> dict[UUID, list[int]]:
    """Group `pairs` (recall's id, number) by recall, in their order."""
    by_recall: dict[UUID, list[int]] = defaultdict(list)
    for recall_id, number in pairs:
        by_recall[recall_id].append(number)
    return by_recall


def _timestamps(recalls: Sequence[Recall], which: Q) -> dict[UUID, list[int]]:
    """The timestamps (ms, ascending) of the items of `recalls` that match `which`, by recall."""
    items = RecallItem.objects.filter(which, recall__in=recalls).order_by("timestamp")
    return _by_recall(items.values_list("recall_id", "timestamp"))
