"""The row of days above the list: days that have entries, found by look-ups in the index by time."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.utils import timezone

from moderation.audit.filters import TimeField
from moderation.audit.models import AuditEntry

DAYS = 10
# Entries of a day are counted up to this number.
MAX_COUNTED = 1000


class Day(NamedTuple):
    """A day in the reader's zone with its number of entries, at most MAX_COUNTED + 1."""

    day: date
    number: int

    @property
    def is_capped(self) -> bool:
        return self.number > MAX_COUNTED

    @property
    def span(self) -> dict[str, str]:
        """Values of the list's filters for this day."""
        return {"since": f"{self.day}T00:00:00", "until": f"{self.day + timedelta(days=1)}T00:00:00"}


def midnight(day: date) -> datetime:
    """Start of `day` in the reader's zone, as UTC."""
    return timezone.make_aware(datetime.combine(day, time.min)).astimezone(UTC)


def days(before: date | None = None, after: date | None = None) -> list[Day]:
    """Up to DAYS days with entries, latest first: the last before a day, the first after one, or the last of all.

    Raises OverflowError for days at the ends of the calendar.
    """
    days_with_entries: list[Day] = []
    rows: Any = AuditEntry.objects.all()
    while len(days_with_entries) < DAYS:
        if after:
            ahead = rows.filter(at__gte=midnight(after + timedelta(days=1))).order_by("at")
        else:
            ahead = (rows.filter(at__lt=midnight(before)) if before else rows).order_by("-at")
        at = ahead.values_list("at", flat=True).first()
        if at is None:
            break
        day = timezone.localtime(at).date()
        span = rows.filter(at__gte=midnight(day), at__lt=midnight(day + timedelta(days=1)))
        days_with_entries.append(Day(day, span.order_by("at")[: MAX_COUNTED + 1].count()))
        before, after = (None, day) if after else (day, None)
    return sorted(days_with_entries, reverse=True)


def day_of(text: str | None) -> date | None:
    """Parse a day such as 2026-01-31; None for anything else."""
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return None


def span_of(query: Any) -> list[datetime | None]:
    """Parse the times in the list's query string. Compared as times, as browsers leave out seconds of 0."""
    try:
        return [TimeField(required=False).clean(query.get(name)) for name in ("since", "until")]
    except ValidationError:
        return []


def row(query: Any) -> dict[str, Any]:
    """Template context of the row of days, for the list with this query string (a QueryDict)."""
    before, after = day_of(query.get("days_before")), day_of(query.get("days_after"))
    try:
        shown = days(before, None if before else after)
    except OverflowError:
        before = after = None
        shown = days()

    def address(**changes: str) -> str:
        changed = query.copy()
        for name in ("before", "after", "days_before", "days_after"):
            changed.pop(name, None)
        for name, value in changes.items():
            changed[name] = value
        return f"?{changed.urlencode()}"

    span = span_of(query)
    # Keep the position of the row when a day or another filter is chosen.
    here = {"days_before": str(shown[0].day + timedelta(days=1))} if shown and (before or after) else {}
    return {
        "here": here,
        "days": [
            {
                "day": each,
                "address": address(**here, **each.span),
                "is_this": span == [midnight(each.day), midnight(each.day + timedelta(days=1))],
            }
            for each in shown
        ],
        "earlier": len(shown) == DAYS and address(days_before=str(shown[-1].day)),
        "later": bool(shown) and bool(before or after) and address(days_after=str(shown[0].day)),
        "latest": bool(before or after) and address(),
        "max_counted": MAX_COUNTED,
    }
