"""Erasure of message text. `privacy/erasure.py` selects the messages and records the erasure first."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django.db.models import CharField, QuerySet, Value
from django.db.models.functions import Cast, Concat

from moderation.applications.models import Application
from moderation.archive import signals
from moderation.archive.models import Message
from moderation.archive.rows import in_parts


def written(application: Application, sender_id: str, timestamps: Collection[int] = ()) -> QuerySet[Message]:
    """The sender's messages that still have their text: those at `timestamps` (ms), or all."""
    messages = Message.objects.filter(conversation__application=application, sender_id=sender_id).exclude(sha256="")
    return messages.filter(timestamp__in=timestamps) if timestamps else messages


def erase_messages(pks: Sequence[int]) -> None:
    """Erase the text of messages, inside the caller's transaction; ids, time, sender and type stay."""
    for some in in_parts(pks):
        signals.forgotten.send(None, pks=some)
        Message.objects.filter(pk__in=some).update(
            raw="",
            recalled_raw="",
            sha256="",
            # The hash would confirm a guessed text. Messages without an id still need unique values here.
            payload_sha256=Concat(Value("erased "), Cast("pk", CharField())),
        )
