"""How a message is shown: from its raw JSON text to something to see. Pure: no model, no request.

Nothing here trusts what it reads. A payload that is not what its type says is shown as formatted JSON, and a text
that is not JSON as itself (goeasy-api.md, "History": message types and payloads).

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
    """What to show of the message whose JSON text is `raw`; it is empty once it was erased on request."""
    if not raw:
        return Words("erased", _("Text erased on request"))
    try:
        data = json_value(raw.strip())
    except ValueError:
        return words("json", raw)
    return read_value(data, raw, media_origins)


def read_value(data: Any, raw: str, media_origins: Collection[str] = ()) -> Shown:
    """`read()`, for whom the value of `raw` is at hand."""
    if isinstance(data, str):
        return words("json", raw)
    if isinstance(data, dict) and data.get("payload") in (None, "", {}) and recall_mark(data):
        return Words("unknown", _("Text not known: GoEasy tells of it only that it was recalled."))
    if not isinstance(data, dict) or "payload" not in data:
        return formatted(data, raw)
    # A payload may be JSON inside a string.
    kind, payload = data.get("type"), object_of(data["payload"]) or data["payload"]
    known = TYPES.get(kind) if isinstance(kind, str) else None
    return (known and known.read(payload, media_origins)) or custom.read(payload, raw)
