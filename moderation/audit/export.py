"""The audit log as text: JSON lines or CSV, in constant memory however long the log is.

Keys and their order are those of interface.md, `export_audit`. Only sealed entries have a `seq`, and only they are
exported: seal (`audit.chain`) before.
"""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from moderation.audit import ocsf, verifier
from moderation.audit.models import Action, AuditEntry, AuditSeal
from moderation.audit.services import DEEPEST, record

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
    "private",
)
# What of an entry its hash covers; the last three as the JSON text that is stored.
COLUMNS: tuple[str | Cast, ...] = (
    *("at", "actor", "action", "app", "kind", "user_a", "user_b", "group_id", "recall", "batch", "attempt"),
    *("http_status", "response_code", "response_content", "latency_ms"),
    *(Cast(name, TextField()) for name in ("timestamps", "request", "detail")),
)
# An entry may carry 5,000 timestamps: this many of them at once stay below some 40 MB.
ROWS_AT_ONCE = 500
WIDEST = 100_000
# OWASP, "CSV Injection": a spreadsheet takes a cell that begins with one of these signs for a formula, some also after
# what is not seen.
UNSEEN = r"\x00-\x08\x0b\x0c\x0e-\x20\x85\xa0\xad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
SIGN = f"[{UNSEEN}]*[-=+@＝＋－＠]"
# What a spreadsheet's cell holds, in UTF-16 units; Excel cuts off the rest.
MAX_CELL = 32_767
# Where a spreadsheet that does not split at commas splits, whatever is quoted, a formula can begin as well.
BEGINS_A_FORMULA = re.compile(rf"\A(?=[\t\r\n]|{SIGN})|(?<=[;\t\r\n])(?={SIGN})")
# Greater ones are no JSON numbers that everybody reads alike (RFC 7493, 2.2; RFC 8785): they are written as text.
GREATEST = 2**53 - 1
# Of a JSON text: a bracket, a string, a number or a name.
TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}]|[^][{}",:\s]+')
# What `str.splitlines` takes for the end of a line and JSON does not escape.
LINE_ENDS = {char: f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}


def as_dict(columns: tuple[Any, ...], seq: int, prev_hash: str, hash_: str | None) -> dict[str, Any]:
    """An entry's COLUMNS and what its seal says, under the keys of interface.md, as `audit.verifier.load` reads a line.

    None: does not apply. `at` is UTC with microseconds.
    """
    at, actor, action, app, kind, user_a, user_b, group_id, recall, batch, attempt, *rest = columns
    http_status, response_code, response_content, latency_ms, *texts = rest
    timestamps, request, detail = read_values(texts)
    conversation = None
    if kind == "group":
        conversation = {"kind": kind, "group_id": group_id}
    elif kind == "private":
        conversation = {"kind": kind, "user_a": user_a, "user_b": user_b}
    return {
        "seq": seq,
        "at": at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z",
        "actor": actor,
        "action": action,
        "app": app or None,
        "conversation": conversation,
        "recall": recall and str(recall),
        "batch": batch,
        "attempt": attempt,
        "timestamps": timestamps,
        "request": request,
        "http_status": http_status,
        "response_code": within_reach(response_code),
        "response_content": response_content,
        "latency_ms": within_reach(latency_ms),
        "detail": detail,
        "prev_hash": prev_hash,
        "hash": hash_,
    }


def read_values(given: Iterable[str | None]) -> list[Any]:
    """The values of JSON texts out of the database, each `within_reach`; None for None. It fails for no depth."""
    texts = [text or "null" for text in given]
    try:
        # Read at once: half of an export's time is JSON, and each reading has its price.
        return [within_reach(value) for value in json.loads(f"[{','.join(texts)}]")]
    except RecursionError:
        # How deep `json` goes depends on the version of Python, and on how deep the calls are that led here.
        return [within_reach(read_deep(text)) for text in texts]


def read_deep(text: str) -> Any:
    """The value of a JSON text, where what `within_reach` writes as text for its depth is that text already.

    One token after the other, and no function calls itself. Inside of what becomes text each value is kept as the text
    that it will be there.
    """
    # Of each container that is not closed yet, its items; keys and values in turn.
    open_ones: list[list[Any]] = [[]]
    for piece in TOKEN.findall(text):
        if piece in ("[", "{"):
            open_ones.append([])
        elif piece in ("]", "}"):
            value: Any = open_ones.pop()
            is_text = len(open_ones) > DEEPEST
            if piece == "}":
                value = dict(zip(value[::2], value[1::2], strict=True))
                value = f"{{{', '.join([f'{key}: {item}' for key, item in value.items()])}}}" if is_text else value
            elif is_text:
                value = f"[{', '.join(value)}]"
            open_ones[-1].append(value)
        else:
            value = json.loads(piece)
            is_text = len(open_ones) > DEEPEST + 1
            open_ones[-1].append(json.dumps(value, ensure_ascii=False) if is_text else value)
    return open_ones[0][0]


def within_reach(value: Any, depth: int = 0) -> Any:
    """`value` as every reader of JSON can take it: numbers that are too great, and what nests too deeply, as text.

    Fractions become Decimal, which `canonical` in `audit.verifier` writes as RFC 8785 asks.
    """
    kind = type(value)
    if kind is int:
        return value if -GREATEST <= value <= GREATEST else str(value)
    if kind is float:
        return Decimal(repr(value))
    if kind is not list and kind is not dict:
        return value
    if depth == DEEPEST:
        return json.dumps(value, ensure_ascii=False)
    if kind is list:
        if set(map(type, value)) == {int} and max(value) <= GREATEST and min(value) >= -GREATEST:
            # Thousands of timestamps, and nothing to do.
            return value
        return [within_reach(item, depth + 1) for item in value]
    # Most values are texts.
    return {key: item if type(item) is str else within_reach(item, depth + 1) for key, item in value.items()}


def rows(
    entries: QuerySet[AuditEntry],
    after: int = 0,
    until: int | None = None,
    read: Callable[[int], None] = lambda _seq: None,
) -> Iterator[dict[str, Any]]:
    """Sealed entries in the chain's order: those beyond seq `after` up to seq `until`, ROWS_AT_ONCE at a time.

    Each query is bounded on both sides: a database that has no statistics yet would sort all the rest every time.
    `read` is called with the seq up to which the log is read, also where nothing is found.
    """
    names = ("seal__seq", "seal__prev_hash", "seal__hash", "private__salt", "private__content", *COLUMNS)
    found: Any = entries.order_by("seal__seq").values_list(*names)
    last, width = last_seq() if until is None else until, ROWS_AT_ONCE
    while after < last:
        to = min(after + width, last)
        page = list(found.filter(seal__seq__gt=after, seal__seq__lte=to)[:ROWS_AT_ONCE])
        for seq, prev_hash, hash_, salt, content, *columns in page:
            entry = as_dict(columns, seq, prev_hash, hash_)
            # Beside what is hashed, as `hash` itself is. Null: there is none, or (`detail` has its hash) it was erased.
            entry["private"] = {"salt": salt, "content": disclosed(content)} if salt else None
            yield entry
        if len(page) == ROWS_AT_ONCE:
            after, width = page[-1][0], ROWS_AT_ONCE
        else:
            # What is looked for is rare: look further at once, but not so far that nothing is heard for long.
            after, width = to, min(width * 2, WIDEST)
        read(after)


def disclosed(content: str) -> Any:
    """A private part's content; text that is no JSON, which nothing here wrote, as it is."""
    try:
        return verifier.load(content)
    except ValueError:
        return content


def last_seq() -> int:
    """How many entries are sealed."""
    return AuditSeal.objects.order_by("-seq").values_list("seq", flat=True).first() or 0


# What comes from the database refers to nothing that it is in.
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
    """One JSON object a line."""
    for entry in entries:
        yield as_json(entry) + "\n"


def cells(value: Any) -> list[str]:
    """`value` as one CSV cell, or as several where it is too long for one.

    Text stands in quotes, nested values are JSON, and nothing begins as something that a spreadsheet would execute.
    """
    if value is None:
        return [""]
    if isinstance(value, int):
        return [str(value)]
    text = BEGINS_A_FORMULA.sub("'", value if isinstance(value, str) else as_json(value))
    pieces = [text] if len(text) * 2 <= MAX_CELL else list(split_cell(text))
    return ['"' + piece.replace('"', '""') + '"' for piece in pieces]


def split_cell(text: str) -> Iterator[str]:
    """`text` in pieces that a spreadsheet's cell takes whole, each begun as safely as the first."""
    units = text.encode("utf-16-le", "surrogatepass")
    start = 0
    while start < len(units):
        # One unit is left for the quote before a formula.
        end = min(start + 2 * (MAX_CELL - 1), len(units))
        if end < len(units) and 0xD8 <= units[end - 1] < 0xDC:
            # Not between the halves of a surrogate pair.
            end -= 2
        yield BEGINS_A_FORMULA.sub("'", units[start:end].decode("utf-16-le", "surrogatepass"))
        start = end


def csv_lines(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A line of headings, then an entry's row (RFC 4180); null is an empty cell without quotes.

    What is too long for a cell goes on in rows of the same seq in which nothing else stands; the last column says so.
    """
    yield ",".join([*KEYS, "continues_in_next_row"]) + "\r\n"
    for entry in entries:
        columns = [cells(value) for value in entry.values()]
        # The first is seq.
        columns[0] *= max(map(len, columns))
        yield ",true\r\n".join([",".join(row) for row in zip_longest(*columns, fillvalue="")]) + ",\r\n"


def ocsf_lines(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """One event of the Open Cybersecurity Schema Framework a line."""
    for entry in entries:
        yield as_json(ocsf.event(entry)) + "\n"


class Format(NamedTuple):
    """A way to write the log."""

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
    progress: Callable[[int, int], None] = lambda _seq, _last: None,
    **detail: Any,
) -> Iterator[str]:
    """`entries` that are sealed by now, as lines of `kind` (a key of FORMATS).

    That `actor` takes them away is recorded before the first line is made; `filters` tells what was asked for, `detail`
    what else there is to say. `progress` is called with the seq up to which the log is read, and the last there is.
    """
    last = last_seq()
    told = {"format": kind, "entries_up_to": last, "filters": filters, **detail}
    record(actor=actor, action=Action.LOG_EXPORTED, detail=told)
    return FORMATS[kind].lines(rows(entries, until=last, read=lambda seq: progress(seq, last)))


def with_mark(kind: str, lines: Iterable[str]) -> Iterator[str]:
    """`lines` of a file; one for a spreadsheet begins with the mark without which Excel shows Chinese as nonsense."""
    if kind == "csv":
        yield "\ufeff"
    yield from lines


def write_file(path: Path, lines: Iterable[str], mode: int = 0o600) -> int:
    """Write `lines` to `path` and return their number. Raises OSError.

    Whoever looks there sees the old file or all of the new one. With the default `mode` only its owner can read it.
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
