"""Readers for the fields of GoEasy's messages, which applications and libraries write in several forms.

| field                                  | accepted as                                                              |
|----------------------------------------|--------------------------------------------------------------------------|
| an id (senderId, groupId, messageId …) | text, or a whole number, which is read as its digits                     |
| a number (timestamp, size …)           | a number, or its text; `15220.0` counts as whole                         |
| an object (senderData, payload, to …)  | a JSON object, or the JSON text of one                                   |
| recalled, rc                           | true, 1, "true", "1"; a recaller alone says the same                     |

Well-formed values are recognised by the first comparison, because every message of webhook and history passes here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from moderation.goeasy.answers import json_value

DIGITS = re.compile(r"\s*[0-9]{1,19}\s*")
NUMBER = re.compile(r"\s*-?[0-9]{1,15}(\.[0-9]{1,15})?\s*")
RECALLED = {"true": True, "1": True, "false": False, "0": False}


def text_of(value: object) -> str:
    """An id or a name as text: a whole number becomes its digits, any other type an empty string."""
    if isinstance(value, str):
        return value
    number = value if type(value) is int else whole_number(value)
    return "" if number is None else str(number)


def whole_number(value: object) -> int | None:
    """A non-negative whole number, written as an integer, as `15220.0` or as text; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    if isinstance(value, str) and DIGITS.fullmatch(value):
        return int(value)
    number = decimal_number(value)
    # Above 2**53 a float cannot represent every whole number.
    return int(number) if number is not None and number.is_integer() and 0 <= number < 2**53 else None


def decimal_number(value: object) -> float | None:
    """A finite number, such as a longitude, or the text of one; None for anything else."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and -(2**63) < value < 2**63 else None  # type: ignore[arg-type, operator]


def object_of(value: object) -> dict[str, Any]:
    """A JSON object, or the JSON text of one; an empty object for anything else."""
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
    """Text or a whole number, made storable in a column of `length` characters.

    Neither engine accepts a lone surrogate, and PostgreSQL refuses NUL.
    """
    return text_of(value).encode("utf-8", "replace").decode().replace("\x00", "\ufffd")[:length]


def name_of(about: Mapping[str, Any]) -> str:
    """Name in `senderData` or another description of a user or group; empty if there is none."""
    return text_of(about.get("name") or about.get("nickname"))


def timestamp_of(data: Mapping[str, Any]) -> int | None:
    """Time of a message in milliseconds since the epoch; None if it has none that a database can store."""
    timestamp = data.get("timestamp")
    if type(timestamp) is not int:
        timestamp = whole_number(timestamp)
    return timestamp if timestamp is not None and 0 < timestamp < 2**63 else None


def recall_mark(data: Mapping[str, Any]) -> bool | None:
    """Whether a message is marked as recalled; None when the mark is not understood."""
    mark = data.get("recalled")
    if mark is None:
        mark = data.get("rc")
    if mark is None or mark == "":
        # Only a recalled message has a recaller.
        if not data.get("recaller"):
            return False
        return True if recaller_of(data) else None
    return mark if isinstance(mark, bool) else RECALLED.get(text_of(mark).strip().lower())


def recaller_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """The recaller of a message as clients see it: `{"id": …, "data": {…}}`, or empty."""
    about = dict(object_of(data.get("recaller")))
    for name, read in (("id", text_of), ("data", object_of)):
        if name in about:
            # A value of another type is kept as it is, to be shown as it was written.
            about[name] = read(about[name]) or about[name]
    return about
