"""Reading of GoEasy's history into the archive. Errors of GoEasy are reported in a Reading, never raised."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from django.conf import settings
from django.utils import timezone

from moderation.archive.ingest import ingest_messages
from moderation.archive.models import Conversation, Message
from moderation.goeasy.client import Client
from moderation.goeasy.errors import GoEasyError
from moderation.goeasy.fields import recall_mark
from moderation.ingestion import feed, unreadable
from moderation.ingestion.history_pages import Page, read_page
from moderation.outbox.admission import PaceExceeded, wait_for_pace

log = logging.getLogger(__name__)

# A person waits for these reads: seconds for one answer, and seconds after which no further page is requested, the wait
# for the application's pace included. Background reads use GOEASY_READ_TIMEOUT.
READ_TIMEOUT = 6.0
PATIENCE = 3.0
# Concurrent reads in one process, with up to a second of waiting for a slot: a slow GoEasy must not occupy all the
# threads that serve pages.
MAX_READS = 4
# A page that is not full is usually the last one; this many extra calls show whether it is.
CALLS_TO_THE_END = 2
_places = threading.BoundedSemaphore(MAX_READS)


@dataclass
class Reading:
    """Result of reading history.

    `problem` is empty, or why history was not read: an error's `kind`, an application's `key_problem`, "busy" (GoEasy
    is slow, and enough reads wait for it), "paced" (the calls of the next seconds are reserved by others); for look-ups
    also "slow", "too_many" (not everything was requested) or "unreadable" (the wanted message may be among those that
    could not be read).
    `reached_start`: history has nothing older. `crowded_ms`: a millisecond with more messages than one page holds, so
    that the strictly-before cursor cannot show them all (docs/goeasy-api.md, "History"). `missed`: number of added
    messages that the webhook should have delivered. `unreadable`: the elements that are not messages. `is_blocked`:
    nothing on a page could be read, so that history cannot be followed beyond it.
    """

    problem: str = ""
    added: int = 0
    reached_start: bool = False
    crowded_ms: int | None = None
    missed: int = 0
    unreadable: set[str] = field(default_factory=set)
    is_blocked: bool = False


def read_latest(conversation: Conversation, *, pages: int = 2) -> Reading:
    """Read the newest `pages` pages of history into the archive."""
    return _read(conversation, [None], pages)


def catch_up(conversation: Conversation, *, pages: int) -> Reading:
    """Read the newest pages of history into the archive, at most `pages`, until one has nothing new.

    Of several concurrent callers one reads; the others get the result of the last read.
    """
    mine = Conversation.objects.filter(pk=conversation.pk, history_read_at=conversation.history_read_at)
    if not mine.update(history_read_at=timezone.now()):
        return Reading(problem=conversation.history_problem)
    return _read(conversation, [None], pages, until_nothing_new=True)


def read_before(conversation: Conversation, before_ms: int, *, pages: int = 2) -> Reading:
    """Read `pages` pages of history older than `before_ms` (ms since the epoch) into the archive.

    Reads nothing for a time that is no valid cursor: GoEasy requires 13 digits.
    """
    if not 10**12 <= before_ms < 10**13:
        return Reading()
    return _read(conversation, [before_ms], pages)


def look_up(conversation: Conversation, timestamps: Iterable[int], *, max_calls: int = 10) -> Reading:
    """Try to read the messages at `timestamps` (ms) into the archive, in at most `max_calls` calls.

    Used for evidence, because the archive may lack a message that is about to be recalled. If the result has no
    problem, a message that is still missing was not in history.
    """
    wanted = set(timestamps)
    missing = wanted - archived_timestamps(conversation, wanted)
    # Newest first: one page often covers several of them.
    cursors: list[int | None] = [timestamp + 1 for timestamp in sorted(missing, reverse=True)]
    reading = _read(conversation, cursors, max_calls, follow=False)
    if not reading.problem and (cursors or reading.unreadable) and missing - archived_timestamps(conversation, missing):
        reading.problem = "too_many" if cursors else "unreadable"
    return reading


class Visibility(Enum):
    """What history showed at a timestamp: the visibility of its messages."""

    RECALLED = "recalled"  # messages, all of them marked as recalled
    PRESENT = "present"  # a message that is not
    ABSENT = "absent"  # none, though history reaches further back
    # Undecidable: history may not reach so far, the page has unreadable messages or an unknown recall mark, or the
    # millisecond has more messages than a page shows.
    BEYOND = "beyond"


@dataclass
class Survey:
    """What history showed at each timestamp (ms) that was reached; `problem` as in Reading."""

    problem: str = ""
    visibility: dict[int, Visibility] = field(default_factory=dict)


def survey(
    conversation: Conversation,
    timestamps: Iterable[int],
    *,
    pages: int,
    before_each: Callable[[], object] | None = None,
) -> Survey:
    """Check what history shows at `timestamps` (ms) now, in at most `pages` calls, the newest first.

    The pages are archived as well. `before_each` is called before each call.
    """
    result = Survey()
    wanted = sorted(set(timestamps), reverse=True)
    if not conversation.application.is_configured:
        result.problem = conversation.application.key_problem
        return result
    marks: dict[int, list[bool | None]] = defaultdict(list)
    with conversation.application.client(read_timeout=settings.GOEASY_READ_TIMEOUT) as client:
        cursor = wanted[0] + 1 if wanted else 0
        for _call in range(pages):
            if not wanted:
                break
            if before_each:
                before_each()
            try:
                page = _request_page(conversation, client, cursor)
            except GoEasyError as error:
                log.warning("history of conversation %s not read: %s", conversation.pk, error)
                result.problem = error.kind
                break
            _archive_page(conversation, page)
            for message in page.messages:
                marks[message.timestamp].append(recall_mark(message.data))
            wanted = _classify(page, cursor, wanted, marks, result.visibility)
            if wanted:
                # Continue at the next wanted time, or at the end of this page when that is older.
                cursor = min(wanted[0] + 1, cursor if page.next_before is None else page.next_before)
    return result


def _classify(
    page: Page, before: int, wanted: list[int], marks: dict[int, list[bool | None]], visibility: dict[int, Visibility]
) -> list[int]:
    """Record the visibility at `wanted` (ms, newest first) that `page` decides; return the times left to older pages.

    `marks`: the recall marks of the messages read so far at each time.
    """
    if page.is_blocked:
        # The newest one cannot be located; older ones can still be requested.
        visibility[wanted[0]] = Visibility.PRESENT if False in marks.get(wanted[0], []) else Visibility.BEYOND
        return wanted[1:]
    waiting: list[int] = []
    for timestamp in wanted:
        marks_there = marks.get(timestamp, [])
        are_recalled = bool(marks_there) and all(marks_there)
        if False in marks_there:
            visibility[timestamp] = Visibility.PRESENT
        elif page.oldest is None:
            visibility[timestamp] = Visibility.RECALLED if are_recalled else Visibility.BEYOND
        elif timestamp < page.oldest or (timestamp == page.oldest != page.crowded_ms):
            # The page may have cut off part of its oldest millisecond.
            waiting.append(timestamp)
        elif page.unreadable or None in marks_there or timestamp in (before, page.crowded_ms):
            # A page of one single millisecond may have been cut off as well, although older pages follow.
            visibility[timestamp] = Visibility.BEYOND
        else:
            visibility[timestamp] = Visibility.RECALLED if are_recalled else Visibility.ABSENT
    return waiting


@dataclass
class Filled(Reading):
    """Result of a comparison with history: calls made, and the milliseconds that history cannot show completely.

    `whole`: history was read back to the requested time or to its start; messages that could not be read on the way
    are in `unreadable`.
    """

    calls: int = 0
    crowded: list[int] = field(default_factory=list)
    whole: bool = False


def fill(
    conversation: Conversation, *, since: int, max_calls: int, before_each: Callable[[], object] | None = None
) -> Filled:
    """Read history from now back to `since` (ms; 0: to its start) into the archive, in at most `max_calls` calls.

    Runs in the background, with GOEASY_READ_TIMEOUT. `before_each` is called before each call.
    """
    filled = Filled()
    if not conversation.application.is_configured:
        filled.problem = conversation.application.key_problem
        return filled
    cursor: int | None = None
    with conversation.application.client(read_timeout=settings.GOEASY_READ_TIMEOUT) as client:
        while filled.calls < max_calls:
            if before_each:
                before_each()
            filled.calls += 1
            page = _read_page(conversation, client, cursor, filled)
            if filled.crowded_ms and filled.crowded_ms not in filled.crowded:
                filled.crowded.append(filled.crowded_ms)
            if page is None or filled.is_blocked:
                break
            cursor = page.next_before
            if cursor is None or cursor <= since:
                filled.whole = True
                break
    conversation.history_problem, conversation.history_read_at = filled.problem, timezone.now()
    conversation.save(update_fields=["history_problem", "history_read_at"])
    return filled


def _archive_page(conversation: Conversation, page: Page) -> tuple[int, int]:
    """Store the page's content. Returns how many messages were added, and how many of these are a gap in the feed."""
    ingested = ingest_messages(conversation, page.messages)
    unreadable.forget_read(conversation, page.messages)
    unreadable.keep(conversation, page.unreadable)
    return ingested.added, feed.note_missed(conversation.application, ingested.times)


def archived_timestamps(conversation: Conversation, timestamps: Iterable[int]) -> set[int]:
    """Those of `timestamps` (ms) at which the archive has a message of the conversation."""
    wanted = list(timestamps)
    archived: set[int] = set()
    # In parts, because SQLite limits the number of parameters in one statement.
    for start in range(0, len(wanted), 500):
        archived.update(
            Message.objects.filter(conversation=conversation, timestamp__in=wanted[start : start + 500]).values_list(
                "timestamp", flat=True
            )
        )
    return archived


def _read(
    conversation: Conversation,
    cursors: list[int | None],
    calls: int,
    *,
    follow: bool = True,
    until_nothing_new: bool = False,
) -> Reading:
    """Read one page per cursor, or with `follow` on from the first, in at most `calls` calls.

    `cursors` keeps those that were not requested. `until_nothing_new`: stop at a page without new messages.
    """
    reading = Reading()
    if not cursors:
        return reading
    if not conversation.application.is_configured:
        reading.problem = conversation.application.key_problem
    elif not _places.acquire(timeout=1):
        # This says nothing about the conversation's history, so its last result is kept.
        return Reading(problem="busy")
    else:
        try:
            _read_pages(conversation, cursors, calls, reading, follow=follow, until_nothing_new=until_nothing_new)
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
    until_nothing_new: bool,
) -> None:
    deadline = time.monotonic() + PATIENCE
    with conversation.application.client(read_timeout=READ_TIMEOUT) as client:
        covered: int | None = None
        page: Page | None = None
        for call in range(calls + (CALLS_TO_THE_END if follow and not until_nothing_new else 0)):
            # These are covered by a page that was read already.
            while cursors and covered is not None and (cursors[0] or 0) > covered:
                cursors.pop(0)
            if not cursors or (call >= calls and page and not page.is_short):
                return
            patience = deadline - time.monotonic()
            if call and patience < 0:
                # A reader of pages continues by hand; a look-up has to report that it is incomplete.
                if not follow:
                    reading.problem = "slow"
                return
            before = reading.added
            page = _read_page(conversation, client, cursors.pop(0), reading, patience=patience)
            if reading.problem == PaceExceeded.kind and call and follow:
                # A reader of pages sees what has been read so far.
                reading.problem = ""
            if reading.reached_start:
                cursors.clear()
            if page is None or reading.reached_start or (until_nothing_new and reading.added == before):
                return
            covered = page.next_before
            if follow and covered is not None:
                cursors[:] = [covered]


def _request_page(
    conversation: Conversation, client: Client, before: int | None, patience: float | None = None
) -> Page:
    """Request the page before `before` (ms), at the application's pace; PaceExceeded after `patience` (s), GoEasyError.

    Every archived page of history is requested here.
    """
    wait_for_pace(conversation.application, patience=patience)
    return read_page(client.history(target=conversation.target, before=before), before)


def _read_page(
    conversation: Conversation, client: Client, before: int | None, reading: Reading, *, patience: float | None = None
) -> Page | None:
    """Read the page before `before` (ms) into the archive and add it to `reading`; None after an error."""
    try:
        page = _request_page(conversation, client, before, patience)
    except GoEasyError as error:
        log.warning("history of conversation %s not read: %s", conversation.pk, error)
        reading.problem = error.kind
        return None
    added, missed = _archive_page(conversation, page)
    reading.added += added
    reading.missed += missed
    # A set, because neighbouring pages may both have an element.
    reading.unreadable.update(page.unreadable)
    reading.reached_start = page.is_end
    reading.is_blocked = page.is_blocked
    reading.crowded_ms = page.crowded_ms or reading.crowded_ms
    return page
