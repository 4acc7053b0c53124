"""An entry as the JSON object that is hashed and exported (`docs/audit-format.md`)."""

import json
import re
from collections.abc import Iterable
from datetime import UTC
from decimal import Decimal
from typing import Any

from django.db.models import TextField
from django.db.models.functions import Cast

# Keys of an entry, in the order of an export.
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
    "schema",
    "private",
)
# Columns that the hash covers; the last three as stored JSON text.
COLUMNS: tuple[str | Cast, ...] = (
    *("schema", "at", "actor", "action", "app", "kind", "user_a", "user_b", "group_id", "recall", "batch", "attempt"),
    *("http_status", "response_code", "response_content", "latency_ms"),
    *(Cast(name, TextField()) for name in ("timestamps", "request", "detail")),
)
# Levels of lists and objects. Deeper values are hashed and exported as text, as some JSON parsers fail on them.
MAX_DEPTH = 100
# JSON parsers differ on greater numbers (RFC 7493, 2.2; RFC 8785), so these are written as text.
MAX_INTEGER = 2**53 - 1
# A token of JSON: a bracket, a string, a number or a name.
PIECE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}]|[^][{}",:\s]+')


def as_dict(columns: tuple[Any, ...], seq: int, prev_hash: str, hash_: str | None) -> dict[str, Any]:
    """Build an entry from its COLUMNS and its seal, equal to what `audit.verifier.load` reads from an export.

    None means "does not apply". `at` is UTC with microseconds. Entries of version 1 have no "schema".
    """
    schema, at, actor, action, app, kind, user_a, user_b, group_id, recall, batch, attempt, *rest = columns
    http_status, response_code, response_content, latency_ms, *texts = rest
    timestamps, request, detail = read_values(texts)
    conversation = None
    if kind == "group":
        conversation = {"kind": kind, "group_id": group_id}
    elif kind == "private":
        conversation = {"kind": kind, "user_a": user_a, "user_b": user_b}
    entry = {
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
        "response_code": as_portable(response_code),
        "response_content": response_content,
        "latency_ms": as_portable(latency_ms),
        "detail": detail,
        "prev_hash": prev_hash,
        "hash": hash_,
    }
    if schema != 1:
        entry["schema"] = schema
    return entry


def read_values(stored: Iterable[str | None]) -> list[Any]:
    """Parse JSON texts from the database and convert them with `as_portable`; None for None. Works at any depth."""
    texts = [text or "null" for text in stored]
    try:
        # One call for all, as parsing JSON is half of an export's time.
        return [as_portable(value) for value in json.loads(f"[{','.join(texts)}]")]
    except RecursionError:
        # The depth at which `json` fails depends on the version of Python and on the call stack.
        return [as_portable(read_deep(text)) for text in texts]


def read_deep(text: str) -> Any:
    """Parse a JSON text of any depth, with the result of `as_portable`: values nested too deeply become text.

    Works token by token, without recursion. Values inside of what becomes text are kept as text.
    """
    # Items of each open container; for an object, keys and values in turn.
    open_containers: list[list[Any]] = [[]]
    for piece in PIECE.findall(text):
        if piece in ("[", "{"):
            open_containers.append([])
        elif piece in ("]", "}"):
            value: Any = open_containers.pop()
            is_text = len(open_containers) > MAX_DEPTH
            if piece == "}":
                value = dict(zip(value[::2], value[1::2], strict=True))
                value = f"{{{', '.join([f'{key}: {item}' for key, item in value.items()])}}}" if is_text else value
            elif is_text:
                value = f"[{', '.join(value)}]"
            open_containers[-1].append(value)
        else:
            value = json.loads(piece)
            is_text = len(open_containers) > MAX_DEPTH + 1
            open_containers[-1].append(json.dumps(value, ensure_ascii=False) if is_text else value)
    return open_containers[0][0]


def as_portable(value: Any, depth: int = 0) -> Any:
    """Convert `value` to what every JSON parser reads alike: great numbers and values nested too deeply become text.

    Fractions become Decimal, which `canonical` in `audit.verifier` writes according to RFC 8785.
    """
    kind = type(value)
    if kind is int:
        return value if -MAX_INTEGER <= value <= MAX_INTEGER else str(value)
    if kind is float:
        return Decimal(repr(value))
    if kind is not list and kind is not dict:
        return value
    if depth == MAX_DEPTH:
        return json.dumps(value, ensure_ascii=False)
    if kind is list:
        if set(map(type, value)) == {int} and max(value) <= MAX_INTEGER and min(value) >= -MAX_INTEGER:
            # Shortcut for thousands of timestamps.
            return value
        return [as_portable(item, depth + 1) for item in value]
    # Shortcut for texts, the most common values.
    return {key: item if type(item) is str else as_portable(item, depth + 1) for key, item in value.items()}
