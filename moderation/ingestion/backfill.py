"""Reading GoEasy's history into the archive. What GoEasy does wrong is told by a Reading, never raised."""

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

# A person waits for these reads: seconds for one answer, and after which no further page is asked for, the wait for
# the application's pace included. Where nobody waits, an answer has GOEASY_READ_TIMEOUT.
READ_TIMEOUT = 6.0
PATIENCE = 3.0
# So many reads at once in one process, and a second to wait for a place: a slow GoEasy must not take all the
# threads that answer people.
MAX_READS = 4
# A page that is not full is mostly the last one. So many calls more than were meant show whether it is.
CALLS_TO_THE_END = 2
_places = threading.BoundedSemaphore(MAX_READS)


@dataclass
class Reading:
    """What reading history came to.

    `problem` is empty, or what kept it from being read: an error's `kind`, an application's `key_problem`, "busy"
    (GoEasy is slow, and enough reads wait for it), "paced" (the calls of the next seconds are promised to others); of
    what was to be looked up also "slow", "too_many" (not all of it was asked for) or "unreadable" (it may be among the
    messages that could not be read).
    `reached_start`: it was seen that history has nothing older. `crowded_ms`: a millisecond with more messages than
    one page holds, so that the strictly-before cursor cannot show them all (docs/goeasy-api.md, "History"). `missed`:
    of the messages added, those that the webhook should have brought. `unreadable`: the texts that are no messages;
    `is_blocked`: nothing on a page could be read, so that history cannot be followed beyond it.
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
    """Read the newest pages of history into the archive, at most `pages`, down to one with nothing new.

    Of many who ask at once one reads; to the others it is told how the last read went.
    """
    mine = Conversation.objects.filter(pk=conversation.pk, history_read_at=conversation.history_read_at)
    if not mine.update(history_read_at=timezone.now()):
        return Reading(problem=conversation.history_problem)
    return _read(conversation, [None], pages, until_nothing_new=True)


def read_before(conversation: Conversation, before_ms: int, *, pages: int = 2) -> Reading:
    """Read `pages` pages of history older than `before_ms` (ms since the epoch) into the archive.

    Nothing is read before a time that GoEasy knows no messages of: it takes 13 digits.
    """
    if not 10**12 <= before_ms < 10**13:
        return Reading()
    return _read(conversation, [before_ms], pages)


def look_up(conversation: Conversation, timestamps: Iterable[int], *, max_calls: int = 10) -> Reading:
    """Try to bring the messages at `timestamps` (ms) into the archive, in at most `max_calls` reads.

    For evidence: what is about to be recalled may never have been on anybody's screen. Without a problem, what the
    archive then lacks was not in history.
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
    """What history showed at a timestamp."""

    RECALLED = "recalled"  # messages, all of them marked as recalled
    PRESENT = "present"  # a message that is not
    ABSENT = "absent"  # none, though history reaches further back
    # Neither can be said: history may not reach so far, the page has messages that cannot be read or a mark that nobody
    # knows the meaning of, or the millisecond has too many messages to see them all.
    BEYOND = "beyond"


@dataclass
class Survey:
    """What history showed at timestamps (ms), as far as it was read; `problem` as in Reading."""

    problem: str = ""
    visibility: dict[int, Visibility] = field(default_factory=dict)


def survey(
    conversation: Conversation,
    timestamps: Iterable[int],
    *,
    pages: int,
    before_each: Callable[[], object] | None = None,
) -> Survey:
    """Look at what history shows at `timestamps` (ms) now, in at most `pages` calls; the newest ones first.

    What is read enters the archive, too. `before_each` is called before each call.
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
                # One past the next wanted one; never below what a page cut off, never where this page was.
                cursor = min(wanted[0] + 1, cursor if page.next_before is None else page.next_before)
    return result


def _classify(
    page: Page, before: int, wanted: list[int], marks: dict[int, list[bool | None]], visibility: dict[int, Visibility]
) -> list[int]:
    """Note what is known of `wanted` (ms, newest first) once `page` was read; return those that older pages will show.

    `marks`: how the messages seen so far at each time are marked.
    """
    if page.is_blocked:
        # Where the newest of them would be is unknown; older ones can still be requested.
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
            # The page may have had no room for all of its oldest millisecond.
            waiting.append(timestamp)
        elif page.unreadable or None in marks_there or timestamp in (before, page.crowded_ms):
            # A page that showed one millisecond alone was followed by older ones: it may have been cut there, too.
            visibility[timestamp] = Visibility.BEYOND
        else:
            visibility[timestamp] = Visibility.RECALLED if are_recalled else Visibility.ABSENT
    return waiting


@dataclass
class Filled(Reading):
    """What comparing with history came to: calls made, and every millisecond that history cannot show whole.

    `whole`: history was read as far back as was asked for, or to its start; what could not be read on the way is
    counted in `unreadable`.
    """

    calls: int = 0
    crowded: list[int] = field(default_factory=list)
    whole: bool = False


def fill(
    conversation: Conversation, *, since: int, max_calls: int, before_each: Callable[[], object] | None = None
) -> Filled:
    """Read history from now back to `since` (ms; 0: to its start) into the archive, in at most `max_calls` calls.

    Nobody waits for it: its patience is GOEASY_READ_TIMEOUT. `before_each` is called before each call.
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
    """Keep what is on the page. Returns how many messages were added, and how many of these are a gap in the feed."""
    ingested = ingest_messages(conversation, page.messages)
    unreadable.forget_read(conversation, page.messages)
    unreadable.keep(conversation, page.unreadable)
    return ingested.added, feed.note_missed(conversation.application, ingested.times)


def archived_timestamps(conversation: Conversation, timestamps: Iterable[int]) -> set[int]:
    """Those of `timestamps` (ms) at which the archive has a message of the conversation."""
    wanted = list(timestamps)
    archived: set[int] = set()
    # In parts: SQLite bounds the number of parameters of one statement.
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

    Of `cursors` those are left that were not asked for. `until_nothing_new`: no further than a page with nothing new.
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
            # A page that was read reaches past these already.
            while cursors and covered is not None and (cursors[0] or 0) > covered:
                cursors.pop(0)
            if not cursors or (call >= calls and page and not page.is_short):
                return
            patience = deadline - time.monotonic()
            if call and patience < 0:
                # Who pages goes on from here by hand; who looks for something is told that it was not all looked for.
                if not follow:
                    reading.problem = "slow"
                return
            before = reading.added
            page = _read_page(conversation, client, cursors.pop(0), reading, patience=patience)
            if reading.problem == PaceExceeded.kind and call and follow:
                # As above: what has come is shown.
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
    """The page before `before` (ms), at the application's pace. Raises GoEasyError, PaceExceeded after `patience` (s).

    Every page of history that enters the archive comes through here.
    """
    wait_for_pace(conversation.application, patience=patience)
    return read_page(client.history(target=conversation.target, before=before), before)


def _read_page(
    conversation: Conversation, client: Client, before: int | None, reading: Reading, *, patience: float | None = None
) -> Page | None:
    """Read the page before `before` (ms) into the archive and into `reading`; None when it did not come."""
    try:
        page = _request_page(conversation, client, before, patience)
    except GoEasyError as error:
        log.warning("history of conversation %s not read: %s", conversation.pk, error)
        reading.problem = error.kind
        return None
    added, missed = _archive_page(conversation, page)
    reading.added += added
    reading.missed += missed
    # Neighbouring pages may both have it.
    reading.unreadable.update(page.unreadable)
    reading.reached_start = page.is_end
    reading.is_blocked = page.is_blocked
    reading.crowded_ms = page.crowded_ms or reading.crowded_ms
    return page
