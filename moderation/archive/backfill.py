"""Reading GoEasy's history into the archive. What GoEasy does wrong is told by a Reading, never raised."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

from django.conf import settings
from django.utils import timezone

from moderation.archive import feed
from moderation.archive.ingest import Ingested, ingest
from moderation.archive.models import Conversation, Message
from moderation.goeasy.answers import HistoryPage
from moderation.goeasy.client import MAX_HISTORY_LIMIT, Client
from moderation.goeasy.errors import GoEasyError

log = logging.getLogger(__name__)

# A person waits for these reads: seconds for one answer, and after which no further page is asked for. The recall
# engine's patience is GOEASY_READ_TIMEOUT.
READ_TIMEOUT = 6.0
PATIENCE = 3.0
# So many reads at once in one process, and a second to wait for a place: a slow GoEasy must not take all the
# threads that answer people.
MOST_READS = 4
_places = threading.BoundedSemaphore(MOST_READS)


@dataclass
class Reading:
    """What reading history came to.

    `problem` is empty, or what kept it from being read: an error's `kind`, an application's `key_problem`, "busy"
    (GoEasy is slow, and enough reads wait for it), or "slow" (not all that was to be looked up could be).
    `reached_start`: history has nothing older. `crowded_ms`: a millisecond with more messages than one page
    holds, so that the strictly-before cursor cannot show them all (goeasy-api.md, "History"). `missed`: of the
    messages added, those that the webhook should have brought.
    """

    problem: str = ""
    added: int = 0
    reached_start: bool = False
    crowded_ms: int | None = None
    missed: int = 0


def read_latest(conversation: Conversation, *, pages: int = 2) -> Reading:
    """Read the newest `pages` pages of history into the archive."""
    return _read(conversation, [None], pages)


def catch_up(conversation: Conversation, *, pages: int) -> Reading:
    """Read the newest pages of history into the archive, at most `pages`, down to one with nothing new.

    Of many who ask at once one reads; to the others it is told how the last read went.
    """
    mine = Conversation.objects.filter(pk=conversation.pk, history_read_at=conversation.history_read_at)
    if not mine.update(history_read_at=timezone.now()):
        return Reading(problem=conversation.history_problem)
    return _read(conversation, [None], pages, until_known=True)


def read_before(conversation: Conversation, before_ms: int, *, pages: int = 2) -> Reading:
    """Read `pages` pages of history older than `before_ms` (ms since the epoch) into the archive.

    Nothing is read before a time that GoEasy knows no messages of: it takes 13 digits.
    """
    if not 10**12 <= before_ms < 10**13:
        return Reading()
    return _read(conversation, [before_ms], pages)


def look_up(conversation: Conversation, timestamps: Iterable[int], *, max_calls: int = 10) -> Reading:
    """Try to bring the messages at `timestamps` (ms) into the archive, in at most `max_calls` reads.

    For evidence: what is about to be recalled may never have been on anybody's screen.
    """
    wanted = set(timestamps)
    missing = wanted - known_timestamps(conversation, wanted)
    # Newest first: one page often covers several of them.
    return _read(conversation, [timestamp + 1 for timestamp in sorted(missing, reverse=True)], max_calls, follow=False)


class Sight(Enum):
    """What history showed at a timestamp."""

    RECALLED = "recalled"  # messages, all of them marked as recalled
    PRESENT = "present"  # a message that is not
    ABSENT = "absent"  # none, though history reaches further back
    BEYOND = "beyond"  # none, and nothing older: history may not reach so far; or too many to see them all


@dataclass
class Survey:
    """What history showed at timestamps (ms), as far as it was read; `problem` as in Reading."""

    problem: str = ""
    sights: dict[int, Sight] = field(default_factory=dict)


def survey(
    conversation: Conversation, timestamps: Iterable[int], *, pages: int, before_each: Callable[[], None] | None = None
) -> Survey:
    """Look at what history shows at `timestamps` (ms) now, in at most `pages` calls; the newest ones first.

    What is read enters the archive, too. `before_each` is called before each call.
    """
    found = Survey()
    wanted = sorted(set(timestamps), reverse=True)
    if not conversation.application.is_configured:
        found.problem = conversation.application.key_problem
        return found
    with conversation.application.client(read_timeout=settings.GOEASY_READ_TIMEOUT) as client:
        cursor = wanted[0] + 1 if wanted else 0
        for _call in range(pages):
            if not wanted:
                break
            if before_each:
                before_each()
            try:
                page = client.history(target=conversation.target, limit=MAX_HISTORY_LIMIT, before=cursor)
            except GoEasyError as error:
                log.warning("history of conversation %s not read: %s", conversation.pk, error)
                found.problem = error.kind
                break
            _take(conversation, page)
            cursor = _look_at(page, cursor, wanted, found.sights)
    return found


def _look_at(page: HistoryPage, before: int, wanted: list[int], sights: dict[int, Sight]) -> int:
    """Take from `wanted` (newest first) what the page before `before` tells of; return the next page's cursor."""
    shown: dict[int, list[bool]] = defaultdict(list)
    for message in page.messages:
        if isinstance(time := message.data.get("timestamp"), int):
            shown[time].append(message.data.get("recalled") is True)
    oldest = min(shown, default=0)
    whole = len(page.messages) + len(page.unreadable) < MAX_HISTORY_LIMIT
    crowded = not whole and oldest + 1 == before
    while wanted and (whole or wanted[0] > oldest or (crowded and wanted[0] == oldest)):
        timestamp = wanted.pop(0)
        if not all(flags := shown.get(timestamp, [])):
            sights[timestamp] = Sight.PRESENT
        elif page.unreadable or (crowded and timestamp == oldest):
            sights[timestamp] = Sight.BEYOND
        elif flags:
            sights[timestamp] = Sight.RECALLED
        else:
            sights[timestamp] = Sight.ABSENT if shown and oldest < timestamp else Sight.BEYOND
    # One past the next wanted one; never below what a page cut off, never where this page was.
    return min(wanted[0] + 1, before - 1) if wanted else before


@dataclass
class Filled(Reading):
    """What comparing with history came to: calls made, and every millisecond that history cannot show whole.

    `whole`: history was read as far back as was asked for, or to its start.
    """

    calls: int = 0
    crowded: list[int] = field(default_factory=list)
    whole: bool = False


def fill(
    conversation: Conversation, *, since: int, most_calls: int, before_each: Callable[[], None] | None = None
) -> Filled:
    """Read history from now back to `since` (ms; 0: to its start) into the archive, in at most `most_calls` calls.

    Nobody waits for it: its patience is GOEASY_READ_TIMEOUT. `before_each` is called before each call.
    """
    filled = Filled()
    if not conversation.application.is_configured:
        filled.problem = conversation.application.key_problem
        return filled
    cursor: int | None = None
    with conversation.application.client(read_timeout=settings.GOEASY_READ_TIMEOUT) as client:
        while filled.calls < most_calls:
            if before_each:
                before_each()
            filled.calls += 1
            cursor = _read_page(conversation, client, cursor, filled)
            if filled.crowded_ms and filled.crowded_ms not in filled.crowded:
                filled.crowded.append(filled.crowded_ms)
            if filled.problem:
                break
            if cursor is None or cursor <= since:
                filled.whole = True
                break
    conversation.history_problem, conversation.history_read_at = filled.problem, timezone.now()
    conversation.save(update_fields=["history_problem", "history_read_at"])
    return filled


def _take(conversation: Conversation, page: HistoryPage) -> Ingested:
    """Keep the page's messages; what of them the webhook should have brought is a gap in the feed."""
    ingested = ingest(conversation, [message.raw for message in page.messages])
    return replace(ingested, missed=feed.note_missed(conversation.application, ingested.times))


def known_timestamps(conversation: Conversation, timestamps: Iterable[int]) -> set[int]:
    """Those of `timestamps` (ms) at which the archive has a message of the conversation."""
    wanted = list(timestamps)
    known: set[int] = set()
    # In parts: SQLite bounds the number of parameters of one statement.
    for start in range(0, len(wanted), 500):
        known.update(
            Message.objects.filter(conversation=conversation, timestamp__in=wanted[start : start + 500]).values_list(
                "timestamp", flat=True
            )
        )
    return known


def _read(
    conversation: Conversation,
    cursors: list[int | None],
    calls: int,
    *,
    follow: bool = True,
    until_known: bool = False,
) -> Reading:
    """Read one page per cursor, or with `follow` on from the first, in at most `calls` calls.

    `until_known`: no further than a page with nothing new.
    """
    reading = Reading()
    if not cursors:
        return reading
    if not conversation.application.is_configured:
        reading.problem = conversation.application.key_problem
    elif not _places.acquire(timeout=1):
        # Says nothing of this conversation's history: the last word on that is kept.
        return Reading(problem="busy")
    else:
        try:
            _read_pages(conversation, cursors, calls, reading, follow=follow, until_known=until_known)
        finally:
            _places.release()
    conversation.history_problem = reading.problem
    conversation.history_read_at = timezone.now()
    conversation.save(update_fields=["history_problem", "history_read_at"])
    return reading


def _read_pages(
    conversation: Conversation,
    cursors: list[int | None],
    calls: int,
    reading: Reading,
    *,
    follow: bool,
    until_known: bool,
) -> None:
    deadline = time.monotonic() + PATIENCE
    with conversation.application.client(read_timeout=READ_TIMEOUT) as client:
        covered: int | None = None
        for call in range(calls):
            # A page that was read reaches past these already.
            while cursors and covered is not None and (cursors[0] or 0) > covered:
                cursors.pop(0)
            if not cursors:
                return
            if call and time.monotonic() > deadline:
                # Who pages goes on from here by hand; who looks for something is told that it was not all looked for.
                if not follow:
                    reading.problem = "slow"
                return
            before = reading.added
            covered = _read_page(conversation, client, cursors.pop(0), reading)
            if reading.problem or reading.reached_start or (until_known and reading.added == before):
                return
            if follow and covered is not None:
                cursors = [covered]


def _read_page(conversation: Conversation, client: Client, before: int | None, reading: Reading) -> int | None:
    """Read the page before `before` into the archive and into `reading`; return the next page's cursor.

    The cursor is one past the oldest millisecond read: a strictly-before cursor at that millisecond would skip
    those of its messages that the page had no room for.
    """
    try:
        page = client.history(target=conversation.target, limit=MAX_HISTORY_LIMIT, before=before)
    except GoEasyError as error:
        log.warning("history of conversation %s not read: %s", conversation.pk, error)
        reading.problem = error.kind
        return None
    ingested = _take(conversation, page)
    reading.added += ingested.added
    reading.missed += ingested.missed
    if unreadable := len(ingested.unreadable) + len(page.unreadable):
        log.warning("history of conversation %s holds %d unreadable elements", conversation.pk, unreadable)
    if len(page.messages) + len(page.unreadable) < MAX_HISTORY_LIMIT:
        reading.reached_start = True
        return None
    times = [time for message in page.messages if isinstance(time := message.data.get("timestamp"), int)]
    if not times:
        return None
    oldest = min(times)
    if oldest + 1 == before:
        reading.crowded_ms = oldest
        return oldest
    return oldest + 1
