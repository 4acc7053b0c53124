"""Which messages of a conversation have arrived since a page was made: by row id, whatever time they carry.

A row id is given before its transaction commits, so on PostgreSQL a lower id can become visible after a higher one.
A mark therefore looks back over the last minutes, and remembers which of those rows the page had seen.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from moderation.archive.models import Conversation, Message

# A transaction that writes messages is over within this time.
OVERLAP = timedelta(minutes=5)
# A mark remembers at most this many rows of the last minutes, the newest ones.
MAX_REMEMBERED = 300
# More news than that is counted no further.
MAX_NEWS = 99
# A mark that an address carries names at most this many rows.
MAX_IDS = 4_000
MARK = re.compile(r"([0-9]{1,18})\.([0-9_-]*)\.([0-9_-]*)", re.ASCII)
SPAN = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", re.ASCII)


@dataclass(frozen=True)
class Mark:
    """What a page has seen: the rows up to the id `floor` except the `missing` ones, and the `known` ones beyond it."""

    floor: int = 0
    known: frozenset[int] = frozenset()
    missing: frozenset[int] = frozenset()

    def __str__(self) -> str:
        """The mark as an address carries it; `read_mark` reads it."""
        return f"{self.floor}.{_spans(self.known, self.floor)}.{_spans(self.missing, 0)}"

    def with_shown(self, pks: Iterable[int]) -> Mark:
        """The same mark once the page shows the rows `pks`, too."""
        shown = frozenset(pks)
        return Mark(self.floor, self.known | {pk for pk in shown if pk > self.floor}, self.missing - shown)


def _spans(numbers: Iterable[int], after: int) -> str:
    """`numbers`, all beyond `after`, as "5-2_7": the step to the next one, how many follow on it, and so on."""
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
    """The numbers that `_spans` wrote. Raises ValueError for anything else, or for too many."""
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
    """The mark in `text`, or None when it is malformed."""
    if not (match := MARK.fullmatch(text)):
        return None
    floor = int(match[1])
    try:
        return Mark(floor, frozenset(_numbers(match[2], floor)), frozenset(_numbers(match[3], 0)))
    except ValueError:
        return None


def mark_of(conversation: Conversation) -> Mark:
    """A mark of all that has arrived in the conversation until now; one query, of at most MAX_REMEMBERED rows.

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
    """The ids of what is new, in the order of arrival, one more than MAX_NEWS at most; and the page's next mark."""

    pks: list[int]
    mark: Mark


def news_since(
    conversation: Conversation, mark: Mark, *, start: int, end: int | None = None, shown: Collection[int] = ()
) -> News:
    """What a page with this mark lacks of the span that it has loaded, `start` to `end` (ms), besides the ids `shown`.

    What is older than the span, or newer, comes when its pages are turned.
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
