"""What people decide on about a recall that was asked for: what may be sent again, settled, or called off.

Each function tells what a page shows of that, as `moderation.reviewed` has it.
"""

from __future__ import annotations

from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils.translation import gettext as _

from moderation.reviewed import Aspects, Changed, Seen, aspect, not_shown_error
from recall.models import LOOKED_FOR, NEEDS_A_PERSON, Recall, RecallBatch, RecallItem

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


def to_call_off(recalls: QuerySet[Recall]) -> Aspects:
    """Which sending of `recalls` may be called off: the one that was asked for last.

    How far it is changes by itself, and is not part of it: calling off is a matter of seconds.
    """
    return {"sending": aspect([recalls.aggregate(at=Max("not_before"))["at"]])}


def to_send_again(recalls: QuerySet[Recall]) -> Aspects:
    """Which calls of `recalls` may be sent again, and why."""
    batches = RecallBatch.objects.filter(MAY_BE_SENT_AGAIN, recall__in=recalls.filter(state__in=RETRIED_FROM))
    return {"calls": _calls(batches), **to_call_off(recalls)}


def to_settle(recall: Recall) -> Aspects:
    """On which calls a person is asked to decide, and what history shows of their messages."""
    batches = recall.batches.filter(NEEDS_A_PERSON, LOOKED_FOR)
    items = RecallItem.objects.filter(batch__in=batches).order_by("verification").values_list("verification")
    return {"calls": _calls(batches), "messages": aspect(items.annotate(Count("pk")))}


def _calls(batches: QuerySet[RecallBatch]) -> tuple[int, str]:
    """Which calls they are: the number in each state, and the sum of their keys."""
    return aspect(
        batches.order_by("state", "settlement").values_list("state", "settlement").annotate(Count("pk"), Sum("pk"))
    )


def check(seen: Seen | None, now: Aspects) -> None:
    """Raises Changed unless what was `seen` is as it is `now`; None: nobody was shown anything (a command)."""
    if seen and not seen.aspects:
        raise not_shown_error()
    if seen and seen.differences(now):
        raise Changed([_("This has changed since you looked. Nothing was done: look at it again.")])
