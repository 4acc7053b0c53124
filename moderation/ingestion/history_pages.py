"""Pages of GoEasy's history and the cursor of the next older one, for every reader of history. Pure.

A page shorter than the limit proves nothing: a host may cap the limit, or leave out recalled messages after applying
it. History ends where a page is empty, or has nothing older than its cursor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from moderation.archive.ingest import read_message
from moderation.archive.models import Message
from moderation.goeasy.answers import HistoryPage
from moderation.goeasy.client import MAX_HISTORY_LIMIT

# A cursor is a time in milliseconds of 13 digits (client.timestamp_problem).
CURSORS = range(10**12, 10**13)


@dataclass(frozen=True)
class Page:
    """The messages of the page strictly before `before` (ms; None: the newest page), and the unreadable texts."""

    before: int | None
    messages: list[Message]
    unreadable: list[str]

    @property
    def is_short(self) -> bool:
        """Whether it has fewer messages than the limit; it may be the last page."""
        return len(self.messages) + len(self.unreadable) < MAX_HISTORY_LIMIT

    @cached_property
    def oldest(self) -> int | None:
        """The oldest time (ms) on the page before its cursor; None when there is none."""
        times = (message.timestamp for message in self.messages)
        return min((at for at in times if at in CURSORS and (self.before is None or at < self.before)), default=None)

    @property
    def is_end(self) -> bool:
        """Whether the page shows that history has nothing older than the cursor."""
        return self.oldest is None and not self._is_unclear

    @property
    def is_blocked(self) -> bool:
        """Whether the page shows neither where an older page begins nor that there is none."""
        return self.oldest is None and self._is_unclear

    @property
    def _is_unclear(self) -> bool:
        """Whether an element's time is unknown, so that it may be older than the cursor."""
        return bool(self.unreadable) or any(message.timestamp not in CURSORS for message in self.messages)

    @property
    def next_before(self) -> int | None:
        """The next page's cursor, always older than this one's; None when there is none.

        One past the oldest millisecond, because a strictly-before cursor at it would skip its messages that the page
        cut off. When the page has that millisecond alone, the millisecond itself.
        """
        if self.oldest is None:
            return None
        return self.oldest if self.oldest + 1 == self.before else self.oldest + 1

    @property
    def crowded_ms(self) -> int | None:
        """The millisecond that fills the whole page, so that history cannot show all of its messages; else None."""
        if self.is_short or self.unreadable or self.oldest is None or self.oldest + 1 != self.before:
            return None
        return self.oldest if all(message.timestamp == self.oldest for message in self.messages) else None


def read_page(page: HistoryPage, before: int | None) -> Page:
    """Parse the page of history requested with the cursor `before` (ms)."""
    messages, unreadable = [], list(page.unreadable)
    for element in page.messages:
        message = read_message(element.raw, element.data)
        if message is None:
            unreadable.append(element.raw)
        else:
            messages.append(message)
    return Page(before, messages, unreadable)
