"""Reading the fields of GoEasy's messages, which applications and libraries write in more than one form.

| field                                  | accepted as                                                              |
|----------------------------------------|--------------------------------------------------------------------------|
| an id (senderId, groupId, messageId …) | text, or a whole number, which is read as its digits                     |
| a number (timestamp, size …)           | a number, or its text; `15220.0` counts as whole                         |
| an object (senderData, payload, to …)  | a JSON object, or the JSON text of one                                   |
| recalled, rc                           | true, 1, "true", "1"; a recaller alone says the same                     |

Whatever is well-formed is recognised by the first comparison: webhook and history read every message through here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from moderation.goeasy.answers import json_value

DIGITS = re.compile(r"\s*[0-9]{1,19}\s*")
NUMBER = re.compile(r"\s*[0-9]{1,15}(\.[0-9]{1,15})?\s*")
RECALLED = {"true": True, "1": True, "false": False, "0": False}


def text_of(value: object) -> str:
    """An id or a name as text: a whole number as its digits, anything else that is no text as nothing."""
    if isinstance(value, str):
        return value
    number = value if type(value) is int else whole_number(value)
    return "" if number is None else str(number)


def whole_number(value: object) -> int | None:
    """A whole number that is not negative, written as one, as `15220.0`, or as text; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    if isinstance(value, str) and DIGITS.fullmatch(value):
        return int(value)
    number = decimal_number(value)
    # Beyond 2**53 a float no longer tells one whole number from the next.
    return int(number) if number is not None and number.is_integer() and number < 2**53 else None


def decimal_number(value: object) -> float | None:
    """A number that is not negative, or the text of one; None for anything else."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < 2**63 else None  # type: ignore[arg-type, operator]


def object_of(value: object) -> dict[str, Any]:
    """A JSON object, or the one whose JSON text `value` is; an empty one for anything else."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            inner = json_value(value.strip())
        except ValueError:
            return {}
        return inner if isinstance(inner, dict) else {}
    return {}


def storable(value: object, length: int) -> str:
    """`value` if it is text or a whole number, fit for a column of `length`.

    Neither engine takes a lone surrogate, PostgreSQL no NUL.
    """
    return text_of(value).encode("utf-8", "replace").decode().replace("\x00", "\ufffd")[:length]


def name_of(about: Mapping[str, Any]) -> str:
    """The name in `senderData` or another description of a user or group; empty when it has none."""
    return text_of(about.get("name") or about.get("nickname"))


def timestamp_of(data: Mapping[str, Any]) -> int | None:
    """The time of a message in milliseconds since the epoch; None when it has none that a database can hold."""
    timestamp = data.get("timestamp")
    if type(timestamp) is not int:
        timestamp = whole_number(timestamp)
    return timestamp if timestamp is not None and 0 < timestamp < 2**63 else None


def recall_mark(data: Mapping[str, Any]) -> bool | None:
    """Whether a message is marked as recalled; None when its mark is one that nobody knows the meaning of."""
    mark = data.get("recalled")
    if mark is None:
        mark = data.get("rc")
    if mark is None or mark == "":
        # Only what was recalled has a recaller.
        if not data.get("recaller"):
            return False
        return True if recaller_of(data) else None
    return mark if isinstance(mark, bool) else RECALLED.get(text_of(mark).strip().lower())


def recaller_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Who recalled a message, as clients see it: `{"id": …, "data": {…}}`, or empty."""
    about = dict(object_of(data.get("recaller")))
    for name, read in (("id", text_of), ("data", object_of)):
        if name in about:
            # What is neither an id nor an object stays as it is: it is shown as it was written.
            about[name] = read(about[name]) or about[name]
    return about
