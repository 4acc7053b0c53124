"""Which numbers can be the time of a message: whole milliseconds since the epoch, as GoEasy gives them."""

from datetime import datetime

from moderation.goeasy.client import DAY_MS

# 2010-01-01 UTC: seconds (10 digits) are far below it.
EARLIEST = 1_262_304_000_000
# Clocks differ, and some are set to local time as if it were UTC; microseconds (16 digits) are far beyond it.
MAX_AHEAD = DAY_MS


def is_plausible(timestamp: int, arrived: int) -> bool:
    """Whether a message that arrived at `arrived` (ms) can have been sent at `timestamp` (ms)."""
    return EARLIEST <= timestamp <= arrived + MAX_AHEAD


def in_ms(at: datetime) -> int:
    """Milliseconds since the epoch."""
    return int(at.timestamp() * 1000)
