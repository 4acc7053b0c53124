"""Messages of a conversation that arrived since a page was rendered, by row id, whatever their timestamps.

A row id is assigned before its transaction commits, so on PostgreSQL a lower id can become visible after a higher one.
A mark therefore covers the last minutes row by row, and remembers which of those rows the page has shown.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from moderation.archive.models import Conversation, Message

# A transaction that writes messages ends within this time.
OVERLAP = timedelta(minutes=5)
# A mark remembers at most this many rows of the last minutes, the newest ones.
MAX_REMEMBERED = 300
# New messages are counted up to this number.
MAX_NEWS = 99
# A mark in a URL names at most this many rows.
MAX_IDS = 4_000
MARK = re.compile(r"([0-9]{1,18})\.([0-9_-]*)\.([0-9_-]*)", re.ASCII)
SPAN = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", re.ASCII)


@dataclass(frozen=True)
class Mark:
    """The rows a page has shown: all up to the id `floor` except the `missing` ones, and the `known` ones above it."""

    floor: int = 0
    known: frozenset[int] = frozenset()
    missing: frozenset[int] = frozenset()

    def __str__(self) -> str:
        """The mark as written in a URL; `read_mark` parses it."""
        return f"{self.floor}.{_spans(self.known, self.floor)}.{_spans(self.missing, 0)}"

    def with_shown(self, pks: Iterable[int]) -> Mark:
        """Return the mark of the page once it also shows the rows `pks`."""
        shown = frozenset(pks)
        return Mark(self.floor, self.known | {pk for pk in shown if pk > self.floor}, self.missing - shown)


def _spans(numbers: Iterable[int], after: int) -> str:
    """Encode `numbers`, all greater than `after`, as "5-2_7": the step to the next one, how many follow, and so on."""
    spans: list[list[int]] = []
    for number in sorted(number for number in numbers if number > after):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    pieces = []
    for first, last in spans:
        pieces.append(f"{first - after}-{last - first}" if last > first else str(first - after))
        after = last
    return "_".join(pieces)


def _numbers(text: str, after: int) -> Iterator[int]:
    """Decode the numbers that `_spans` encoded. Raises ValueError for any other text, or for too many numbers."""
    count = 0
    for piece in filter(None, text.split("_")):
        if not (match := SPAN.fullmatch(piece)):
            raise ValueError(piece)
        first, following = after + int(match[1]), int(match[2] or 0)
        after, count = first + following, count + following + 1
        if count > MAX_IDS or after >= 2**63:
            raise ValueError(piece)
        yield from range(first, after + 1)


def read_mark(text: str) -> Mark | None:
    """Parse a mark; None when `text` is malformed."""
    if not (match := MARK.fullmatch(text)):
        return None
    floor = int(match[1])
    try:
        return Mark(floor, frozenset(_numbers(match[2], floor)), frozenset(_numbers(match[3], 0)))
    except ValueError:
        return None


def mark_of(conversation: Conversation) -> Mark:
    """Return the mark of everything that has arrived in the conversation; one query, at most MAX_REMEMBERED rows.

    Take it before reading the messages that the page shows.
    """
    newest = Message.objects.filter(conversation=conversation).order_by("-id")
    rows = list(newest.values_list("id", "seen_at")[:MAX_REMEMBERED])
    settled_before = timezone.now() - OVERLAP
    settled = (pk for pk, seen_at in rows if seen_at < settled_before)
    floor = next(settled, rows[-1][0] if len(rows) == MAX_REMEMBERED else 0)
    return Mark(floor, frozenset(pk for pk, _seen_at in rows if pk > floor))


@dataclass(frozen=True)
class News:
    """Ids of the new messages in order of arrival, at most MAX_NEWS + 1, and the page's next mark."""

    pks: list[int]
    mark: Mark


def news_since(
    conversation: Conversation, mark: Mark, *, start: int, end: int | None = None, shown: Collection[int] = ()
) -> News:
    """Return what a page with this mark lacks in its loaded span, `start` to `end` (ms), except the ids `shown`.

    Older and newer messages come when the reader turns the page.
    """
    fresh = mark_of(conversation)
    pks = _new(conversation, mark, start, end, shown)
    if len(pks) > MAX_NEWS:
        return News(pks, mark.with_shown(shown))
    return News(pks, Mark(fresh.floor, fresh.known, frozenset(pks)))


def _new(conversation: Conversation, mark: Mark, start: int, end: int | None, shown: Collection[int]) -> list[int]:
    placed = Q(placed_at=None, timestamp__gte=start) | Q(placed_at__gte=start)
    if end is not None:
        placed &= Q(placed_at=None, timestamp__lte=end) | Q(placed_at__lte=end)
    pks = Message.objects.filter(placed, conversation=conversation).order_by("id").values_list("id", flat=True)
    seen = (mark.known - mark.missing).union(shown)
    missing = list(pks.filter(id__in=mark.missing, id__lte=mark.floor)) if mark.missing else []
    beyond = pks.filter(id__gt=mark.floor)[: len(seen) + MAX_NEWS + 1]
    return [pk for pk in (*missing, *beyond) if pk not in seen][: MAX_NEWS + 1]
