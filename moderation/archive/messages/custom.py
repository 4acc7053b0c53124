"""Messages of application-defined types, and those whose payload does not match their type."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from moderation.archive.messages.shown import Words, formatted, words

# Payload fields shown to people: the first that is present.
HEADLINES = ("text", "name", "title", "content")


def read(payload: Any, raw: str) -> Words:
    """Return the readable part of the payload with the whole JSON behind it; `raw` when it nests too deeply."""
    if isinstance(payload, str):
        return words("text", payload)
    whole = formatted(payload, raw)
    if isinstance(payload, dict) and (headline := _headline(payload)):
        return replace(words("text", headline), whole=whole)
    return whole


def _headline(payload: dict[str, Any]) -> str:
    """The readable part of a payload; empty when it has none."""
    texts = (payload.get(name) for name in HEADLINES)
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")
