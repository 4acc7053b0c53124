"""What of history could not be read: kept as evidence, and counted, until a later version reads it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from moderation.archive.ingest import sha256
from moderation.archive.models import Conversation, Message
from moderation.ingestion.models import MAX_UNREADABLE_LENGTH, UnreadableMessage

log = logging.getLogger(__name__)

# At most so many are kept of a conversation: more of them would tell a reader nothing new.
MAX_KEPT = 1_000


def keep(conversation: Conversation, raws: Sequence[str]) -> None:
    """Keep the texts of history's elements that are no messages: each once, and of a conversation at most MAX_KEPT."""
    if not raws:
        return
    log.warning("history of conversation %s holds %d messages that cannot be read", conversation.pk, len(raws))
    capacity = MAX_KEPT - count(conversation)
    if capacity <= 0:
        return
    UnreadableMessage.objects.bulk_create(
        [
            UnreadableMessage(
                conversation=conversation,
                raw=raw.replace("\x00", "\ufffd")[:MAX_UNREADABLE_LENGTH],
                sha256=sha256(raw),
                length=len(raw),
            )
            for raw in raws[:capacity]
        ],
        ignore_conflicts=True,
    )


def forget_read(conversation: Conversation, messages: Iterable[Message]) -> None:
    """Delete what an earlier version could not read and this one has: it is in the archive now."""
    UnreadableMessage.objects.filter(
        conversation=conversation, sha256__in=[message.sha256 for message in messages]
    ).delete()


def prune(conversation: int, seen_before: datetime, **_signal: Any) -> None:
    """Receiver of `archive.signals.pruned`. What could not be read has no known time: it is as old as its arrival."""
    UnreadableMessage.objects.filter(conversation=conversation, seen_at__lt=seen_before).delete()


def count(conversation: Conversation) -> int:
    """How many are kept of the conversation; never more than MAX_KEPT are looked at."""
    return len(UnreadableMessage.objects.filter(conversation=conversation).values_list("pk")[:MAX_KEPT])
