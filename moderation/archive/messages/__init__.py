"""Rendering of a message's raw JSON text into what a page shows. Pure: no model, no request.

Input is untrusted. A payload that does not match its type is shown as formatted JSON, and a text that is not JSON as
it is (docs/goeasy-api.md, "History": message types and payloads).

Each type of message is a module here, with a template of its form's name in `templates/archive/messages/`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.utils.translation import gettext as _

from moderation.archive.messages import audio, custom, file, image, text, video
from moderation.archive.messages.shown import MessageType, Shown, Words, formatted, words
from moderation.goeasy.answers import json_value
from moderation.goeasy.fields import object_of, recall_mark

TYPES: dict[str, MessageType] = {
    each.name: each
    for each in (
        text.TEXT,
        image.IMAGE,
        audio.AUDIO,
        video.VIDEO,
        file.FILE,
    )
}


def read(raw: str, media_origins: Collection[str] = ()) -> Shown:
    """Return what to show of the message with the JSON text `raw`, which is empty after erasure on request."""
    if not raw:
        return Words("erased", _("Text erased on request"))
    try:
        data = json_value(raw.strip())
    except ValueError:
        return words("json", raw)
    return read_value(data, raw, media_origins)


def read_value(data: Any, raw: str, media_origins: Collection[str] = ()) -> Shown:
    """`read()` for a caller that has parsed `raw` into `data`."""
    if isinstance(data, str):
        return words("json", raw)
    if isinstance(data, dict) and data.get("payload") in (None, "", {}) and recall_mark(data):
        return Words("unknown", _("Text not known: GoEasy only says that it was recalled."))
    if not isinstance(data, dict) or "payload" not in data:
        return formatted(data, raw)
    # A payload may be JSON inside a string.
    kind, payload = data.get("type"), object_of(data["payload"]) or data["payload"]
    message_type = TYPES.get(kind) if isinstance(kind, str) else None
    return (message_type and message_type.read(payload, media_origins)) or custom.read(payload, raw)
