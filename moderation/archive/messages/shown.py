"""Types for what is shown of a message. Pure: no model, no request."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

# Longer texts are collapsed; far longer ones are cut, so that one message cannot fill the page.
FOLD_CHARACTERS = 600
FOLD_LINES = 12
MAX_CHARACTERS = 12_000


class Shown(ABC):
    """A message as shown to people. Its template is named after its `form`."""

    form: str

    @property
    def template(self) -> str:
        return f"archive/messages/_{self.form}.html"

    @property
    @abstractmethod
    def searchable(self) -> str:
        """All readable text; empty for a message recalled before its text was received."""

    @property
    @abstractmethod
    def headline(self) -> str:
        """The text that a person reads first."""

    @abstractmethod
    def line(self, length: int = 80) -> str:
        """One line that identifies the message in a selection, a review, and the evidence of a recall."""

    def snippet(self, length: int = 140) -> str:
        """One line for a list of conversations: what a person would read first."""
        return one_line(self.headline, length)


@dataclass(frozen=True)
class MessageType:
    """A message type with its own presentation. `sample`: a payload as GoEasy sends it.

    `read`: returns what to show of a payload, given the origins that media may be loaded from; None for a payload that
    does not match the type, which is then shown like an unknown type.
    """

    name: str
    read: Callable[[Any, Collection[str]], Shown | None]
    sample: dict[str, Any] = field(hash=False)


@dataclass(frozen=True)
class Words(Shown):
    """A text or formatted JSON. `head` is its collapsed form, empty when it is short.

    `whole`: the JSON of which `text` is the readable part; None when `text` is everything.
    """

    form: str  # "text", "json", "erased", or "unknown": recalled, and received without its text
    text: str
    cut: int = 0  # characters that are not shown
    whole: Words | None = None

    @property
    def searchable(self) -> str:
        return "" if self.form == "unknown" else (self.whole or self).text

    @property
    def headline(self) -> str:
        return self.text

    def line(self, length: int = 80) -> str:
        return one_line(self.text, length)

    @property
    def length(self) -> int:
        return len(self.text) + self.cut

    @property
    def head(self) -> str:
        lines = self.text[:FOLD_CHARACTERS].split("\n")
        if len(self.text) <= FOLD_CHARACTERS and len(lines) <= FOLD_LINES:
            return ""
        return "\n".join(lines[:FOLD_LINES])


def words(form: str, text: str) -> Words:
    """`text`, cut at MAX_CHARACTERS."""
    return Words(form, text[:MAX_CHARACTERS], max(0, len(text) - MAX_CHARACTERS))


def formatted(value: Any, raw: str) -> Words:
    """`value` as formatted JSON; `raw` when it nests too deeply for that."""
    try:
        return words("json", json.dumps(value, ensure_ascii=False, indent=2))
    except ValueError:
        return words("json", raw)


def one_line(text: str, length: int) -> str:
    """The beginning of `text`, without line breaks."""
    line = " ".join(text[: 4 * length].split())
    return line if len(line) <= length else line[: length - 1] + "…"
