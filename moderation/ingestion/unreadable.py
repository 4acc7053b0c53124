"""Unreadable elements of history, kept as evidence and counted until a later version reads them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from moderation.archive.ingest import sha256
from moderation.archive.models import Conversation, Message
from moderation.ingestion.models import MAX_UNREADABLE_LENGTH, UnreadableMessage

log = logging.getLogger(__name__)

# Elements kept of one conversation; more would add no information.
MAX_KEPT = 1_000


def keep(conversation: Conversation, raws: Sequence[str]) -> None:
    """Store elements of history that are not messages: each text once, and at most MAX_KEPT of a conversation."""
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
    """Delete elements that an earlier version could not read and that are archived as messages now."""
    UnreadableMessage.objects.filter(
        conversation=conversation, sha256__in=[message.sha256 for message in messages]
    ).delete()


def prune(conversation: int, seen_before: datetime, **_signal: Any) -> None:
    """Receiver of `archive.signals.pruned`. An unreadable element has no known time, so its arrival counts."""
    UnreadableMessage.objects.filter(conversation=conversation, seen_at__lt=seen_before).delete()


def count(conversation: Conversation) -> int:
    """Number of elements kept of the conversation, counted up to MAX_KEPT."""
    return len(UnreadableMessage.objects.filter(conversation=conversation).values_list("pk")[:MAX_KEPT])
