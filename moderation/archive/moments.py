"""Plausibility of message times: whole milliseconds since the epoch, as GoEasy sends them."""

from datetime import datetime

from moderation.goeasy.client import DAY_MS

# 2010-01-01 UTC; a time in seconds (10 digits) is far below it.
EARLIEST = 1_262_304_000_000
# Clocks differ, and some run on local time as if it were UTC; a time in microseconds (16 digits) is far beyond it.
MAX_AHEAD = DAY_MS


def is_plausible(timestamp: int, arrived: int) -> bool:
    """Whether a message that arrived at `arrived` (ms) can have been sent at `timestamp` (ms)."""
    return EARLIEST <= timestamp <= arrived + MAX_AHEAD


def in_ms(at: datetime) -> int:
    """Milliseconds since the epoch."""
    return int(at.timestamp() * 1000)
