"""Taking the text out of messages. `privacy/erasure.py` decides which, and records it before."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django.db.models import CharField, QuerySet, Value
from django.db.models.functions import Cast, Concat

from moderation.applications.models import Application
from moderation.archive import signals
from moderation.archive.models import Message
from moderation.archive.rows import in_parts


def written(application: Application, sender_id: str, timestamps: Collection[int] = ()) -> QuerySet[Message]:
    """The sender's messages that still have their text; of `timestamps` (ms), or all of them."""
    messages = Message.objects.filter(conversation__application=application, sender_id=sender_id).exclude(sha256="")
    return messages.filter(timestamp__in=timestamps) if timestamps else messages


def erase_messages(pks: Sequence[int]) -> None:
    """Take the text out of messages: their ids, time, sender and type stay; in the transaction."""
    for some in in_parts(pks):
        signals.forgotten.send(None, pks=some)
        Message.objects.filter(pk__in=some).update(
            raw="",
            recalled_raw="",
            sha256="",
            # The text could be guessed from its hash; messages without an id still have to differ.
            payload_sha256=Concat(Value("erased "), Cast("pk", CharField())),
        )
