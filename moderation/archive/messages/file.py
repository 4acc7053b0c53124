"""Messages of the type "file"."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from moderation.archive.messages.attachment import Attachment, attachment
from moderation.archive.messages.shown import MessageType


def read(payload: Any, media_origins: Collection[str]) -> Attachment | None:
    # Files are never embedded, whatever their origin.
    return attachment("file", payload, ())


FILE = MessageType(
    "file", read, sample={"url": "https://files.example.com/offer.pdf", "name": "offer.pdf", "size": 20480}
)
