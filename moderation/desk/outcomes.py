"""What became of the messages of a person's team lately, by day: for the plots of the home page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

from django.db.models import Count, TextChoices
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from recall.models import Recall, RecallBatch, RecallItem

DAYS = 7
# Recalls whose messages are counted, the newest first: a sweep makes many.
MAX_RECALLS = 500
# Size of a day's column in the plot.
WIDTH, HEIGHT, GAP = 32, 72, 12


class Outcome(TextChoices):
    """What is known of a recalled message, in the order of the plots."""

    GONE = "gone", _("verified removed")
    ACCEPTED = "accepted", _("accepted")
    SENDING = "sending", _("sending")
    UNKNOWN = "unknown", _("unknown")
    STILL_VISIBLE = "still-visible", _("still visible")
    REFUSED = "refused", _("not recalled")


VERIFIED = {
    RecallItem.Verification.GONE.value: Outcome.GONE,
    RecallItem.Verification.STILL_VISIBLE.value: Outcome.STILL_VISIBLE,
}
ANSWERED = {
    RecallBatch.State.ACCEPTED.value: Outcome.ACCEPTED,
    RecallBatch.State.PENDING.value: Outcome.SENDING,
    RecallBatch.State.SENDING.value: Outcome.SENDING,
    RecallBatch.State.UNKNOWN.value: Outcome.UNKNOWN,
    RecallBatch.State.REFUSED.value: Outcome.REFUSED,
    RecallBatch.State.CANCELLED.value: Outcome.REFUSED,
}


@dataclass(frozen=True)
class Bar:
    """One outcome's part of a day's column; position and size in the plot's own units."""

    outcome: Outcome
    number: int
    x: int
    y: float
    height: float
    width: int = WIDTH


@dataclass(frozen=True)
class Day:
    """A day in the reader's zone."""

    day: date
    numbers: tuple[int, ...]
    bars: tuple[Bar, ...]
    label_x: int

    @property
    def total(self) -> int:
        return sum(self.numbers)


@dataclass(frozen=True)
class Outcomes:
    """The days up to today. `is_partial`: there were more recalls than are counted."""

    days: tuple[Day, ...]
    is_partial: bool

    @property
    def labels(self) -> list[tuple[str, str]]:
        return [(outcome.value, str(outcome.label)) for outcome in Outcome]

    @property
    def today(self) -> list[tuple[str, str, int]]:
        return _present(self.days[-1].numbers)

    @property
    def week(self) -> list[tuple[str, str, int]]:
        return _present([sum(of_days) for of_days in zip(*(day.numbers for day in self.days), strict=True)])

    @property
    def total(self) -> int:
        return sum(day.total for day in self.days)

    @property
    def size(self) -> dict[str, int]:
        """Width and height of the plot, its line of labels included."""
        return {"width": DAYS * (WIDTH + GAP), "height": HEIGHT + 18, "label_y": HEIGHT + 14, "line_y": HEIGHT}


def _present(numbers: Sequence[int]) -> list[tuple[str, str, int]]:
    """Code, label and number of each outcome that a message has."""
    return [(each.value, str(each.label), n) for each, n in zip(Outcome, numbers, strict=True) if n]


def midnight(day: date) -> datetime:
    """The beginning of `day` in the reader's zone."""
    return timezone.make_aware(datetime.combine(day, time.min)).astimezone(UTC)


def outcomes() -> Outcomes:
    """Outcomes of the last DAYS days; two queries, which read the newest recalls and their messages."""
    today = timezone.localdate()
    days = [today - timedelta(days=ago) for ago in reversed(range(DAYS))]
    newest = Recall.objects.filter(created_at__gte=midnight(days[0])).order_by("-created_at", "-id")
    made = dict(newest.values_list("pk", "created_at")[: MAX_RECALLS + 1])
    counted = list(made)[:MAX_RECALLS]
    numbers: dict[date, Counter[Outcome]] = {day: Counter() for day in days}
    items = RecallItem.objects.filter(recall_id__in=counted).order_by() if counted else RecallItem.objects.none()
    groups = items.values_list("recall_id", "batch__state", "verification").annotate(number=Count("pk"))
    for recall, state, verification, number in groups:
        outcome = VERIFIED.get(verification) or ANSWERED[state]
        numbers[timezone.localtime(made[recall]).date()][outcome] += number
    return Outcomes(tuple(columns(numbers.items())), len(made) > MAX_RECALLS)


def columns(numbers: Iterable[tuple[date, Counter[Outcome]]]) -> Iterable[Day]:
    """The days with the place of each bar, the greatest day as high as the plot."""
    numbers = list(numbers)
    most = max((sum(of_day.values()) for _day, of_day in numbers), default=0) or 1
    for place, (day, of_day) in enumerate(numbers):
        x = place * (WIDTH + GAP) + GAP // 2
        heights = [of_day[outcome] / most * HEIGHT for outcome in Outcome]
        tops = [HEIGHT - sum(heights[:count]) for count in range(len(heights) + 1)]
        bars = [
            Bar(outcome, of_day[outcome], x, round(top, 2), round(bottom - top, 2))
            for outcome, (bottom, top) in zip(Outcome, pairwise(tops), strict=True)
            if of_day[outcome]
        ]
        yield Day(day, tuple(of_day[outcome] for outcome in Outcome), tuple(bars), x + WIDTH // 2)
