"""Rate limit for log lines: one line a minute for each source and kind of warning, with a count.

Anybody who reaches the console can cause warnings: by unsigned webhooks, unknown URLs, other host names, malformed
requests. The filter belongs on the handlers that write these warnings.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

from django.http import HttpRequest

from moderation.audit.request_context import address, request_origin

# Seconds between two lines of the same source and kind.
SECONDS = 60.0
# Sources tracked per kind; further ones share the source OTHERS.
MAX_SOURCES = 50
OTHERS = "(others)"
# Loggers, with their children, whose records a client can cause.
CLIENT_LOGGERS = (
    "django.request",
    "django.security",
    "gunicorn.error",
    "moderation.ingestion.webhooks",
    "moderation.ingestion.feed",
)
# gunicorn puts the client's address into the message.
ADDRESS = re.compile(r"\bip=(\S+?): ")


class LimitRepeats(logging.Filter):
    """Passes one warning or error a minute for each kind and source; the next one says how many were left out.

    The limit applies to each process separately.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        # By kind and source: time of the last line, and number of lines left out since.
        self._lines: dict[tuple[str, ...], dict[str, tuple[float, int]]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or not record.name.startswith(CLIENT_LOGGERS):
            return True
        with self._lock:
            left_out = self._left_out(record_kind(record), record_source(record), self._clock())
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out:,} more like it, left out)", ()
        return left_out is not None

    def reset(self) -> None:
        """Forget all earlier lines."""
        with self._lock:
            self._lines.clear()

    def _left_out(self, kind: tuple[str, ...], source: str, now: float) -> int | None:
        """Number of earlier lines that this one stands for; None when it is left out itself."""
        lines = self._lines.setdefault(kind, {})
        if source not in lines and len(lines) >= MAX_SOURCES:
            source = OTHERS
        at, number = lines.get(source, (now - SECONDS, 0))
        if now - at < SECONDS:
            lines[source] = (at, number + 1)
            return None
        # Count the lines left out of sources that are quiet now.
        expired = [each for each, (at, _number) in lines.items() if now - at >= SECONDS]
        number = sum(lines.pop(each)[1] for each in expired)
        lines[source] = (now, 0)
        return number


def record_kind(record: logging.LogRecord) -> tuple[str, ...]:
    """Key of similar records, free of client input: logger, level, status, message, place of the error."""
    # A message without arguments may contain client input, such as an invented host name.
    text = record.msg if record.args or not record.name.startswith("django.") else ""
    trace = record.exc_info[2] if isinstance(record.exc_info, tuple) else None
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    status = str(getattr(record, "status_code", ""))
    return record.name, record.levelname, status, ADDRESS.split(str(text))[0][:100], where


def record_source(record: logging.LogRecord) -> str:
    """Address of the client that caused the record; "-" when unknown."""
    request = getattr(record, "request", None)
    if isinstance(request, HttpRequest):
        return address(request)
    match = ADDRESS.search(record.getMessage())
    return match[1] if match else request_origin().get("address", "-")
