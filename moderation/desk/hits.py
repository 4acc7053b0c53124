"""Messages that match a search, with excerpts."""

from __future__ import annotations

from dataclasses import dataclass

from moderation.archive.messages.shown import Shown
from moderation.archive.models import Message
from moderation.search.highlight import BEFORE, excerpt
from moderation.search.query import Wanted


@dataclass(frozen=True)
class Hit:
    """A matching message and an excerpt: pieces of text, each with whether it matches the search."""

    message: Message
    pieces: list[tuple[str, bool]]


def pieces_of(shown: Shown, wanted: Wanted, *, before: int = BEFORE) -> list[tuple[str, bool]]:
    """An excerpt of a message; of its whole JSON only when the readable part does not contain the text.

    At most `before` characters precede the match.
    """
    pieces = excerpt(shown.headline, wanted.text, loosely=wanted.loosely, before=before)
    if not wanted.text or any(is_hit for _piece, is_hit in pieces):
        return pieces
    return excerpt(shown.searchable, wanted.text, loosely=wanted.loosely, before=before)
