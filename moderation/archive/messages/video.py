"""Messages of the type "video", whose URL is one level down."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from moderation.archive.messages.attachment import Attachment, attachment
from moderation.archive.messages.shown import MessageType
from moderation.goeasy.fields import object_of


def read(payload: Any, media_origins: Collection[str]) -> Attachment | None:
    about = object_of(payload.get("video")) if isinstance(payload, dict) else None
    return attachment("video", payload, media_origins, about=about)


VIDEO = MessageType(
    "video",
    read,
    sample={
        "video": {"url": "https://files.example.com/tour.mp4", "name": "tour.mp4", "duration": 65.4, "size": 5_000_000},
        "thumbnail": {"url": "https://files.example.com/tour.png"},
    },
)
