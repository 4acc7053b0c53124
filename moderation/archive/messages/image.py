"""Messages of the type "image"."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from moderation.archive.messages.attachment import Attachment, attachment
from moderation.archive.messages.shown import MessageType


def read(payload: Any, media_origins: Collection[str]) -> Attachment | None:
    return attachment("image", payload, media_origins)


IMAGE = MessageType(
    "image", read, sample={"url": "https://files.example.com/cat.png", "name": "cat.png", "width": 640, "height": 480}
)
