"""The audit log as text: JSON lines or CSV, in constant memory however long the log is.

Keys and their order are those of interface.md, `export_audit`.
"""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC
from typing import Any, NamedTuple

from moderation.audit.models import AuditEntry, AuditEntryQuerySet

KEYS = (
    "seq",
    "at",
    "actor",
    "action",
    "app",
    "conversation",
    "recall",
    "batch",
    "attempt",
    "timestamps",
    "request",
    "http_status",
    "response_code",
    "response_content",
    "latency_ms",
    "detail",
    "prev_hash",
    "hash",
)
# An entry may carry 5,000 timestamps: this many of them at once stay below some 40 MB.
ROWS_AT_ONCE = 500
# OWASP, "CSV Injection": a spreadsheet takes a cell that begins with one of these for a formula.
BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# What `str.splitlines` takes for the end of a line and JSON does not escape.
LINE_ENDS = str.maketrans({char: f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"})


def as_dict(entry: AuditEntry) -> dict[str, Any]:
    """One entry under the keys of interface.md; None: does not apply. `at` is UTC with microseconds."""
    special = {
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "app": entry.app or None,
        "recall": entry.recall and str(entry.recall),
    }
    return {key: special[key] if key in special else getattr(entry, key) for key in KEYS}


def by_key(entries: AuditEntryQuerySet) -> Iterator[AuditEntry]:
    """Every entry, oldest first, `ROWS_AT_ONCE` at a time."""
    entries = entries.order_by("seq")
    page = list(entries[:ROWS_AT_ONCE])
    while page:
        yield from page
        page = list(entries.filter(seq__gt=page[-1].seq)[:ROWS_AT_ONCE])


def as_json(value: object) -> str:
    """`value` as JSON on one line, readable in any script."""
    return json.dumps(value, ensure_ascii=False).translate(LINE_ENDS)


def jsonl(entries: AuditEntryQuerySet) -> Iterator[str]:
    """One JSON object a line."""
    for entry in by_key(entries):
        yield as_json(as_dict(entry)) + "\n"


def cell(value: Any) -> Any:
    """`value` as a CSV cell: nested values as JSON, and nothing that a spreadsheet would execute."""
    if isinstance(value, dict | list):
        return as_json(value)
    if isinstance(value, str) and value.startswith(BEGINS_A_FORMULA):
        return f"'{value}"
    return value


class _Line:
    """A file for `csv.writer` that hands back what is written."""

    def write(self, text: str) -> str:
        return text


def csv_lines(entries: AuditEntryQuerySet) -> Iterator[str]:
    """A line of headings, then one row an entry (RFC 4180); null is an empty cell."""
    writer = csv.writer(_Line())
    yield writer.writerow(KEYS)
    for entry in by_key(entries):
        yield writer.writerow([cell(value) for value in as_dict(entry).values()])


class Format(NamedTuple):
    """A way to write the log."""

    content_type: str
    lines: Callable[[AuditEntryQuerySet], Iterator[str]]


FORMATS = {
    "jsonl": Format("application/x-ndjson; charset=utf-8", jsonl),
    "csv": Format("text/csv; charset=utf-8", csv_lines),
}
