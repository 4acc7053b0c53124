"""Parse pasted timestamps: lenient about the form, strict about the value."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from moderation.goeasy.client import timestamp_problem

# Full-width digits and separators of Chinese input methods. No wider normalisation: it would turn, say, a
# superscript into a digit, and with it one message's time into another's.
FULL_WIDTH = str.maketrans("０１２３４５６７８９，、；：", "0123456789,,;:")
SEPARATORS = re.compile(r"[\s,;\[\]\"'\u200b\ufeff]+")


@dataclass
class Parsed:
    """Parsed timestamps in ascending order (ms since the epoch), with duplicates and rejected pieces.

    `rejected` pairs each piece that is no usable timestamp with a code of `goeasy.client.timestamp_problem`.
    """

    timestamps: tuple[int, ...] = ()
    duplicates: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)


def to_ms(at: datetime) -> int:
    """An aware time as ms since the epoch."""
    return round(at.timestamp() * 1000)


def can_be_named(timestamp: int) -> bool:
    """Whether a call can name messages by `timestamp`, which a message carries, now (docs/goeasy-api.md, "Recall")."""
    return timestamp_problem(timestamp, now_ms=time.time_ns() // 1_000_000) is None


def parse_timestamps(texts: Iterable[str], *, now_ms: int) -> Parsed:
    """Read the timestamps in `texts`, which separate them by white space, commas, semicolons or quotes."""
    timestamps: set[int] = set()
    parsed = Parsed()
    for text in texts:
        for piece in SEPARATORS.split(text.translate(FULL_WIDTH)):
            if not piece:
                continue
            # ASCII digits alone: int() would also read underscores, signs and other scripts' digits.
            whole = re.fullmatch(r"[0-9]{1,4000}", piece)
            value: object = int(piece) if whole else piece
            if problem := timestamp_problem(value, now_ms=now_ms):
                parsed.rejected.append((piece, problem))
            elif value in timestamps:
                parsed.duplicates += 1
            else:
                timestamps.add(int(piece))
    parsed.timestamps = tuple(sorted(timestamps))
    return parsed
