"""Messages of the type "text"."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from moderation.archive.messages.shown import MessageType, Words, words


def read(payload: Any, media_origins: Collection[str]) -> Words | None:
    text = payload.get("text") if isinstance(payload, dict) else payload
    return words("text", text) if isinstance(text, str) else None


TEXT = MessageType("text", read, sample={"text": "Do you still have it?"})
