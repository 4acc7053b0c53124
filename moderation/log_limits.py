"""Limits how often one source can fill the log: one line a minute for each kind of warning, with a count.

Anybody who reaches the console can make it warn: by webhooks without a signature, addresses that do not exist, names
of other hosts, requests that are none. The filter stands at the handlers through which such warnings go.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

from django.http import HttpRequest

from moderation.audit.requests import address, origin

# Of one source and kind, one line in so many seconds. Beyond so many sources of a kind, the others count as one.
SECONDS = 60.0
MAX_SOURCES = 50
OTHERS = "(others)"
# Loggers (and those below them) that write what an outsider causes.
OUTSIDERS = (
    "django.request",
    "django.security",
    "gunicorn.error",
    "moderation.ingestion.webhooks",
    "moderation.ingestion.feed",
)
# gunicorn writes the address into the text.
ADDRESS = re.compile(r"\bip=(\S+?): ")


class LimitRepeats(logging.Filter):
    """Lets through one warning or error a minute of each kind and source; the next one says how many were left out.

    Holds for each process by itself.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        # By kind and source: when a line was written, and how many were left out since.
        self._lines: dict[tuple[str, ...], dict[str, tuple[float, int]]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or not record.name.startswith(OUTSIDERS):
            return True
        with self._lock:
            left_out = self._left_out(kind_of(record), source_of(record), self._clock())
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out:,} more like it, left out)", ()
        return left_out is not None

    def forget(self) -> None:
        """Begin as at the start: nothing was written yet."""
        with self._lock:
            self._lines.clear()

    def _left_out(self, kind: tuple[str, ...], source: str, now: float) -> int | None:
        """How many lines this one also stands for; None when it is to be left out itself."""
        lines = self._lines.setdefault(kind, {})
        if source not in lines and len(lines) >= MAX_SOURCES:
            source = OTHERS
        at, number = lines.get(source, (now - SECONDS, 0))
        if now - at < SECONDS:
            lines[source] = (at, number + 1)
            return None
        # What was left out of sources that are quiet since is said along with it.
        over = [each for each, (at, _number) in lines.items() if now - at >= SECONDS]
        number = sum(lines.pop(each)[1] for each in over)
        lines[source] = (now, 0)
        return number


def kind_of(record: logging.LogRecord) -> tuple[str, ...]:
    """What makes two records alike, nothing of it chosen by a client: logger, level, status, text, where it failed."""
    # A text without arguments may be about anything, such as a host that somebody made up.
    text = record.msg if record.args or not record.name.startswith("django.") else ""
    trace = record.exc_info[2] if isinstance(record.exc_info, tuple) else None
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    status = str(getattr(record, "status_code", ""))
    return record.name, record.levelname, status, ADDRESS.split(str(text))[0][:100], where


def source_of(record: logging.LogRecord) -> str:
    """The address that caused the record; "-" when it is not known."""
    request = getattr(record, "request", None)
    if isinstance(request, HttpRequest):
        return address(request)
    match = ADDRESS.search(record.getMessage())
    return match[1] if match else origin().get("address", "-")
