"""An entry as the JSON object that is hashed and exported (`docs/audit-format.md`)."""

import json
import re
from collections.abc import Iterable
from datetime import UTC
from decimal import Decimal
from typing import Any

from django.db.models import TextField
from django.db.models.functions import Cast

# The keys of an entry, in the order in which a line of an export has them.
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
# The columns that an entry's hash covers; the last three as the JSON text that is stored.
COLUMNS: tuple[str | Cast, ...] = (
    *("schema", "at", "actor", "action", "app", "kind", "user_a", "user_b", "group_id", "recall", "batch", "attempt"),
    *("http_status", "response_code", "response_content", "latency_ms"),
    *(Cast(name, TextField()) for name in ("timestamps", "request", "detail")),
)
# Levels of lists and objects. What nests deeper is hashed and exported as text: some readers of JSON give up there.
MAX_DEPTH = 100
# Greater ones are no JSON numbers that everybody reads alike (RFC 7493, 2.2; RFC 8785): they are written as text.
MAX_INTEGER = 2**53 - 1
# Of a JSON text: a bracket, a string, a number or a name.
PIECE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}]|[^][{}",:\s]+')


def as_dict(columns: tuple[Any, ...], seq: int, prev_hash: str, hash_: str | None) -> dict[str, Any]:
    """An entry's COLUMNS and what its seal says, as `audit.verifier.load` reads a line of an export.

    None: does not apply. `at` is UTC with microseconds. Entries of version 1 have no "schema".
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
    """The values of JSON texts from the database, each made `as_portable`; None for None. It fails at no depth."""
    texts = [text or "null" for text in stored]
    try:
        # Read at once: half of an export's time is JSON, and each reading has its price.
        return [as_portable(value) for value in json.loads(f"[{','.join(texts)}]")]
    except RecursionError:
        # How deep `json` goes depends on the version of Python, and on how deep the calls are that led here.
        return [as_portable(read_deep(text)) for text in texts]


def read_deep(text: str) -> Any:
    """The value of a JSON text, in which whatever nests too deeply is text already, as `as_portable` writes it.

    One piece after the other, and no function calls itself. Inside of what becomes text each value is kept as the text
    that it will be there.
    """
    # The items of each container that is not closed yet; keys and values of an object in turn.
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
    """`value` as every reader of JSON can take it: numbers that are too great, and what nests too deeply, as text.

    Fractions become Decimal, which `canonical` in `audit.verifier` writes as RFC 8785 asks.
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
            # Thousands of timestamps, and nothing to do.
            return value
        return [as_portable(item, depth + 1) for item in value]
    # Most values are texts.
    return {key: item if type(item) is str else as_portable(item, depth + 1) for key, item in value.items()}
