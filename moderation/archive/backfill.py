"""Reading GoEasy's history into the archive. What GoEasy does wrong is told by a Reading, never raised."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils import timezone

from moderation.archive.ingest import ingest
from moderation.archive.models import Conversation, Message
from moderation.goeasy.client import MAX_HISTORY_LIMIT, Client
from moderation.goeasy.errors import GoEasyError

log = logging.getLogger(__name__)

# A person waits for these reads: seconds. The recall engine's patience is GOEASY_READ_TIMEOUT.
READ_TIMEOUT = 8.0


@dataclass
class Reading:
    """What reading history came to.

    `problem` is empty, or what kept it from being read (an error's `kind`, or "not_configured").
    `reached_start`: history has nothing older. `crowded_ms`: a millisecond with more messages than one page
    holds, so that the strictly-before cursor cannot show them all (goeasy-api.md, "History").
    """

    problem: str = ""
    added: int = 0
    reached_start: bool = False
    crowded_ms: int | None = None


def read_latest(conversation: Conversation, *, pages: int = 2) -> Reading:
    """Read the newest `pages` pages of history into the archive."""
    return _read(conversation, [None], pages)


def read_before(conversation: Conversation, before_ms: int, *, pages: int = 2) -> Reading:
    """Read `pages` pages of history older than `before_ms` (ms since the epoch) into the archive."""
    return _read(conversation, [before_ms], pages)


def look_up(conversation: Conversation, timestamps: Iterable[int], *, max_calls: int = 10) -> Reading:
    """Try to bring the messages at `timestamps` (ms) into the archive, in at most `max_calls` reads.

    For evidence: what is about to be recalled may never have been on anybody's screen.
    """
    wanted = set(timestamps)
    missing = wanted - known_timestamps(conversation, wanted)
    # Newest first: one page often covers several of them.
    return _read(conversation, [timestamp + 1 for timestamp in sorted(missing, reverse=True)], max_calls, follow=False)


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


def _read(conversation: Conversation, cursors: list[int | None], calls: int, *, follow: bool = True) -> Reading:
    """Read one page per cursor, or with `follow` on from the first, in at most `calls` calls."""
    reading = Reading()
    if not cursors:
        return reading
    if not conversation.application.is_configured:
        reading.problem = "not_configured"
        return reading
    with conversation.application.client(read_timeout=READ_TIMEOUT) as client:
        covered: int | None = None
        for _call in range(calls):
            # A page that was read reaches past these already.
            while cursors and covered is not None and (cursors[0] or 0) > covered:
                cursors.pop(0)
            if not cursors or reading.problem or reading.reached_start:
                break
            covered = _read_page(conversation, client, cursors.pop(0), reading)
            if follow and covered is not None:
                cursors = [covered]
    conversation.history_problem = reading.problem
    conversation.history_read_at = timezone.now()
    conversation.save(update_fields=["history_problem", "history_read_at"])
    return reading


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
    ingested = ingest(conversation, [message.raw for message in page.messages])
    reading.added += ingested.added
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
