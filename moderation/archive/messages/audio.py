"""Messages of the type "audio"."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from moderation.archive.messages.attachment import Attachment, attachment
from moderation.archive.messages.shown import MessageType


def read(payload: Any, media_origins: Collection[str]) -> Attachment | None:
    return attachment("audio", payload, media_origins)


AUDIO = MessageType(
    "audio", read, sample={"url": "https://files.example.com/hello.mp3", "name": "hello.mp3", "duration": 3.2}
)
