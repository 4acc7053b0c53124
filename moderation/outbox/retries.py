"""The retry policy: which calls are retried, after how long, and how often."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

from moderation.goeasy.errors import GoEasyError, NoAnswer, NotAllowed, NotSent, Refused

log = logging.getLogger(__name__)
T = TypeVar("T")

# Attempts of a call in all, with a longer wait each time (seconds).
MAX_ATTEMPTS = 10
FIRST_WAIT = 0.5
MAX_WAIT = 20.0
# How long recording an outcome is retried while the database is unreachable (seconds).
DATABASE_PATIENCE = 60.0


class Withdrawn(NotSent):
    """Claimed and then not sent: the worker is stopping, its lease has expired, or the circuit is open."""

    kind = "withdrawn"


def wait_before_retry(error: GoEasyError, tries: int, *, repeats_unknown: bool = False) -> float | None:
    """Seconds to wait before the same call is sent again, or None when it never is.

    Only calls that cannot have had an effect are retried: those that never left, and those that GoEasy put off (429;
    503 without a code). With `repeats_unknown` also calls without an answer. Capped full jitter, and Retry-After where
    GoEasy sends it.
    """
    if isinstance(error, Withdrawn):
        return 0.0
    if isinstance(error, NotAllowed):
        return None
    is_put_off = isinstance(error, Refused) and error.number in {429, 503}
    may_repeat = isinstance(error, NotSent) or (repeats_unknown and isinstance(error, NoAnswer))
    if tries >= MAX_ATTEMPTS or not (is_put_off or may_repeat):
        return None
    if isinstance(error, Refused) and error.retry_after is not None:
        return min(max(error.retry_after, 0.0), MAX_WAIT)
    return random.uniform(0, min(MAX_WAIT, FIRST_WAIT * 2**tries))  # noqa: S311 - jitter, not a secret


def retry_until_recorded(record: Callable[[], T]) -> T:
    """Call `record()` until it succeeds while the database is unreachable: the outcomes exist only in this process.

    Raises the database's error after DATABASE_PATIENCE; the attempts then stay open for recovery.
    """
    deadline = time.monotonic() + DATABASE_PATIENCE
    while True:
        try:
            return record()
        except (OperationalError, InterfaceError):
            if connection.in_atomic_block or time.monotonic() > deadline:
                raise
            log.warning("the database did not take an outcome; trying again")
            connection.close()
            time.sleep(0.5)
