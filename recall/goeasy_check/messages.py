"""Messages as GoEasy wrote them, read leniently: the check looks at their form."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from moderation.goeasy.answers import HistoryPage, json_value

# The documented names, and those that the vendor's SDK uses on the wire.
TIMESTAMP, SENDER, PAYLOAD, ID = ("timestamp", "ts"), ("senderId", "s"), ("payload", "p"), ("messageId", "i")
MARKS = ("recalled", "rc")


@dataclass(frozen=True)
class RawMessage:
    """One message: its exact text, and its members."""

    raw: str
    data: dict[str, Any]

    def member(self, names: Iterable[str]) -> Any:
        """The value of the first of `names` that it has; None for none."""
        return next((self.data[name] for name in names if name in self.data), None)

    @property
    def timestamp(self) -> int | None:
        """When it was sent (ms), from a number or from digits; None when it cannot be read."""
        value = self.member(TIMESTAMP)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 13:
            return int(value)
        return value if type(value) is int and 10**12 <= value < 10**13 else None

    @property
    def mark(self) -> str:
        """What says that it was recalled, as it is written there; empty when nothing does."""
        for name in MARKS:
            if (value := self.data.get(name)) not in (None, False, 0, "", "false", "0"):
                return f"{name}: {json.dumps(value)}"
        return "recaller alone" if self.data.get("recaller") else ""


def read(raws: Iterable[str]) -> list[RawMessage]:
    """The messages among these JSON texts, in their order."""
    messages = []
    for raw in raws:
        try:
            data = json_value(raw.strip())
        except ValueError:
            continue
        if isinstance(data, dict):
            messages.append(RawMessage(raw, data))
    return messages


def of_page(page: HistoryPage) -> list[RawMessage]:
    """Everything that a page of history holds, readable to the console or not."""
    return read([*(message.raw for message in page.messages), *page.unreadable])


def size_of(page: HistoryPage) -> int:
    """How many elements a page of history holds."""
    return len(page.messages) + len(page.unreadable)
