"""The audit log as text: JSON lines, CSV or OCSF events, in constant memory however long the log is.

Only sealed entries have a `seq` and are exported: seal (`audit.ledger.chain`) before.
"""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from django.db.models import QuerySet

from moderation.audit import verifier
from moderation.audit.events import LogExported
from moderation.audit.ledger import ocsf
from moderation.audit.ledger.format import COLUMNS, KEYS, as_dict
from moderation.audit.models import AuditEntry, AuditJob, AuditSeal
from moderation.audit.services import record

# An entry may have 5,000 timestamps: this many entries need less than about 40 MB.
ROWS_AT_ONCE = 500
MAX_WIDTH = 100_000
# OWASP, "CSV Injection": spreadsheets execute a cell that begins with one of these signs, some also after invisible
# characters.
INVISIBLE = r"\x00-\x08\x0b\x0c\x0e-\x20\x85\xa0\xad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
FORMULA_SIGN = f"[{INVISIBLE}]*[-=+@＝＋－＠]"
# Limit of a spreadsheet's cell in UTF-16 units; Excel cuts off the rest.
MAX_CELL = 32_767
# A spreadsheet may also split at semicolons, tabs and line ends, even in quotes, and a formula can begin there.
BEGINS_A_FORMULA = re.compile(rf"\A(?=[\t\r\n]|{FORMULA_SIGN})|(?<=[;\t\r\n])(?={FORMULA_SIGN})")
# Line ends according to `str.splitlines` that JSON does not escape.
LINE_ENDS = {char: f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}


def rows(
    entries: QuerySet[AuditEntry],
    after: int = 0,
    until: int | None = None,
    progress: Callable[[int], None] = lambda _seq: None,
) -> Iterator[dict[str, Any]]:
    """Sealed entries in order of seq: those beyond `after` up to `until`, read ROWS_AT_ONCE at a time.

    Each query is bounded on both sides, as a database without statistics would sort all remaining rows each time.
    `progress` is called with the seq up to which the log was read, also where no entry matches.
    """
    names = ("seal__seq", "seal__prev_hash", "seal__hash", "private__salt", "private__content", *COLUMNS)
    in_order: Any = entries.order_by("seal__seq").values_list(*names)
    last, width = last_seq() if until is None else until, ROWS_AT_ONCE
    while after < last:
        to = min(after + width, last)
        page = list(in_order.filter(seal__seq__gt=after, seal__seq__lte=to)[:ROWS_AT_ONCE])
        for seq, prev_hash, hash_, salt, content, *columns in page:
            entry = as_dict(columns, seq, prev_hash, hash_)
            # Not covered by the hash. Null: there is none, or it was erased (then `detail` has its hash).
            entry["private"] = {"salt": salt, "content": private_content(content)} if salt else None
            yield entry
        if len(page) == ROWS_AT_ONCE:
            after, width = page[-1][0], ROWS_AT_ONCE
        else:
            # Matches are rare: widen the range, with a limit so that progress is reported regularly.
            after, width = to, min(width * 2, MAX_WIDTH)
        progress(after)


def private_content(content: str) -> Any:
    """The value of a private part; invalid JSON, which the console does not write, stays text."""
    try:
        return verifier.load(content)
    except ValueError:
        return content


def last_seq() -> int:
    """The last seq, which is the number of sealed entries."""
    return AuditSeal.objects.order_by("-seq").values_list("seq", flat=True).first() or 0


# Values from the database cannot be circular.
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, default=float).encode


def as_json(value: object) -> str:
    """`value` as JSON on one line, readable in any script."""
    text = _encode(value)
    if not text.isascii():
        for char, escaped in LINE_ENDS.items():
            if char in text:
                text = text.replace(char, escaped)
    return text


def jsonl(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """One JSON object on each line."""
    for entry in entries:
        yield as_json(entry) + "\n"


def cells(value: Any) -> list[str]:
    """`value` as a CSV cell, or as several if it is too long for one.

    Text is quoted, nested values are JSON, and formulas are escaped.
    """
    if value is None:
        return [""]
    if isinstance(value, int):
        return [str(value)]
    text = BEGINS_A_FORMULA.sub("'", value if isinstance(value, str) else as_json(value))
    pieces = [text] if len(text) * 2 <= MAX_CELL else list(split_cell(text))
    return ['"' + piece.replace('"', '""') + '"' for piece in pieces]


def split_cell(text: str) -> Iterator[str]:
    """Split `text` into pieces that fit into a cell, and escape formulas at the start of each."""
    units = text.encode("utf-16-le", "surrogatepass")
    start = 0
    while start < len(units):
        # Leave one unit for the quote before a formula.
        end = min(start + 2 * (MAX_CELL - 1), len(units))
        if end < len(units) and 0xD8 <= units[end - 1] < 0xDC:
            # Do not split a surrogate pair.
            end -= 2
        yield BEGINS_A_FORMULA.sub("'", units[start:end].decode("utf-16-le", "surrogatepass"))
        start = end


def csv_lines(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A line of headings, then a row for each entry (RFC 4180). Null is an empty cell without quotes.

    A value that is too long for a cell continues in further rows with the same seq; the last column says so.
    """
    yield ",".join([*KEYS, "continues_in_next_row"]) + "\r\n"
    for entry in entries:
        columns = [cells(entry.get(key)) for key in KEYS]
        # Repeat the seq in every row of the entry.
        columns[0] *= max(map(len, columns))
        yield ",true\r\n".join([",".join(row) for row in zip_longest(*columns, fillvalue="")]) + ",\r\n"


def ocsf_lines(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """One OCSF event on each line."""
    for entry in entries:
        yield as_json(ocsf.event(entry)) + "\n"


class Format(NamedTuple):
    """An export format."""

    content_type: str
    lines: Callable[[Iterable[dict[str, Any]]], Iterator[str]]


FORMATS = {
    "jsonl": Format("application/x-ndjson; charset=utf-8", jsonl),
    "csv": Format("text/csv; charset=utf-8", csv_lines),
    "ocsf": Format("application/x-ndjson; charset=utf-8", ocsf_lines),
}


def lines(
    kind: str,
    entries: QuerySet[AuditEntry],
    *,
    actor: str,
    filters: dict[str, Any],
    job: AuditJob | None = None,
    progress: Callable[[int, int], None] = lambda _seq, _last: None,
) -> Iterator[str]:
    """Lines of the sealed `entries` in the format `kind` (a key of FORMATS).

    Records the export by `actor` before the first line. `filters` are recorded with it. `job` is the job that a worker
    runs. `progress` is called with the seq up to which the log was read, and the last seq.
    """
    last = last_seq()
    record(
        LogExported(
            actor=actor,
            origin=job.origin if job else None,
            job=job.pk if job else None,
            format=kind,
            filters=filters,
            entries_up_to=last,
        )
    )
    return FORMATS[kind].lines(rows(entries, until=last, progress=lambda seq: progress(seq, last)))


def with_mark(kind: str, lines: Iterable[str]) -> Iterator[str]:
    """`lines` for a file. A CSV file begins with a byte-order mark, without which Excel garbles Chinese."""
    if kind == "csv":
        yield "\ufeff"
    yield from lines


def write_file(path: Path, lines: Iterable[str], mode: int = 0o600) -> int:
    """Write `lines` to `path` and return their number. Raises OSError.

    Replaces the file atomically. With the default `mode` only its owner can read it.
    """
    count = 0
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            for line in lines:
                file.write(line)
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return count
