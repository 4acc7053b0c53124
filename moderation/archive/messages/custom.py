"""Messages of types of the app's own, and those that are not what their type says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from moderation.archive.messages.shown import Words, formatted, words

# The fields that people read, the first one that there is.
HEADLINES = ("text", "name", "title", "content")


def read(payload: Any, raw: str) -> Words:
    """What is meant to be read of the payload, and the JSON behind it; `raw` where it nests too deeply."""
    if isinstance(payload, str):
        return words("text", payload)
    whole = formatted(payload, raw)
    if isinstance(payload, dict) and (headline := _headline(payload)):
        return replace(words("text", headline), whole=whole)
    return whole


def _headline(payload: dict[str, Any]) -> str:
    """The part of a payload that is meant to be read; empty when it has none."""
    texts = (payload.get(name) for name in HEADLINES)
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")
