"""The only writer of Message: whatever reads messages from GoEasy hands their raw text to `ingest()`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from moderation.archive.models import Conversation, Message, Sender
from moderation.goeasy.answers import value_of


@dataclass(frozen=True)
class Ingested:
    """What an `ingest()` did: rows added, recalls learned, and raw texts that are no message."""

    added: int
    recalled: int
    unreadable: tuple[str, ...]


def sha256(text: str) -> str:
    """SHA-256 of `text` in UTF-8, in hex; a lone surrogate counts as the escape that JSON would write."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def storable(value: object, length: int) -> str:
    """`value` if it is text, fit for a column of `length`: neither engine takes a lone surrogate, PostgreSQL no NUL."""
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")[:length]


def read_message(conversation: Conversation, raw: str) -> Message | None:
    """`raw` as an unsaved Message, or None when it is not an object with a whole timestamp.

    `timestamp` is in milliseconds since the epoch (goeasy-api.md, "History").
    """
    try:
        data = value_of(raw.strip())
        timestamp = data.get("timestamp") if isinstance(data, dict) else None
        if not isinstance(timestamp, int) or isinstance(timestamp, bool) or not 0 < timestamp < 2**63:
            return None
        payload = json.dumps([data.get("type"), data.get("payload")], sort_keys=True)
    except ValueError:
        # No JSON.
        return None
    raw = raw.replace("\x00", "\ufffd")
    return Message(
        conversation=conversation,
        timestamp=timestamp,
        message_id=storable(data.get("messageId"), 255),
        sender_id=storable(data.get("senderId"), 255),
        type=storable(data.get("type"), 64),
        raw=raw,
        sha256=sha256(raw),
        payload_sha256=sha256(payload),
        recalled=data.get("recalled") is True,
        seen_at=timezone.now(),
    )


def _identity(message: Message) -> tuple[object, ...]:
    """What makes two messages of one conversation the same: the id, else time, sender and payload."""
    if message.message_id:
        return (message.message_id,)
    return (message.timestamp, message.sender_id, message.payload_sha256)


def _known(conversation: Conversation, messages: Iterable[Message]) -> dict[tuple[object, ...], Message]:
    """The rows that the archive has of `messages`, by identity."""
    messages = list(messages)
    mine = Message.objects.filter(conversation=conversation).defer("raw", "recalled_raw")
    rows = list(mine.filter(message_id__in=[message.message_id for message in messages if message.message_id]))
    if timestamps := [message.timestamp for message in messages if not message.message_id]:
        rows += mine.filter(message_id="", timestamp__in=timestamps)
    return {_identity(row): row for row in rows}


def ingest(conversation: Conversation, raws: Iterable[str]) -> Ingested:
    """Keep the messages in `raws` (one JSON text each, exactly as GoEasy wrote it) for `conversation`.

    Idempotent: a message that is there already is left as it was first seen; only a recall is learned.
    """
    found: dict[tuple[object, ...], Message] = {}
    unreadable = []
    for raw in raws:
        if (message := read_message(conversation, raw)) is None:
            unreadable.append(raw)
        else:
            found.setdefault(_identity(message), message)
    if not found:
        return Ingested(0, 0, tuple(unreadable))
    with transaction.atomic():
        known = _known(conversation, found.values())
        new = [message for identity, message in found.items() if identity not in known]
        # Another reader of the same page may get there first: its row is as good as ours.
        Message.objects.bulk_create(new, ignore_conflicts=True)
        recalled = [
            message
            for identity, message in found.items()
            if message.recalled and identity in known and not known[identity].recalled
        ]
        for message in recalled:
            Message.objects.filter(pk=known[_identity(message)].pk).update(recalled=True, recalled_raw=message.raw)
        Conversation.objects.filter(
            pk=conversation.pk,
            last_timestamp__lt=(newest := max(message.timestamp for message in found.values())),
        ).update(last_timestamp=newest)
        _learn_senders(conversation, found.values())
    return Ingested(len(new), len(recalled), tuple(unreadable))


def _learn_senders(conversation: Conversation, messages: Iterable[Message]) -> None:
    """Keep the newest name and avatar that `messages` tell of their senders (goeasy-api.md, `senderData`)."""
    told: dict[str, Sender] = {}
    for message in sorted(messages, key=lambda message: message.timestamp):
        data: Any = message.data.get("senderData")
        if not message.sender_id or not isinstance(data, dict):
            continue
        told[message.sender_id] = Sender(
            application_id=conversation.application_id,
            user_id=message.sender_id,
            name=storable(data.get("name") or data.get("nickname"), 255),
            avatar=storable(data.get("avatar"), 2000),
            as_of=message.timestamp,
        )
    if not told:
        return
    # In one order everywhere: two readers with the same senders would otherwise wait for each other for ever.
    told = dict(sorted(told.items()))
    known = {
        sender.user_id: sender
        for sender in Sender.objects.filter(application_id=conversation.application_id, user_id__in=told)
    }
    Sender.objects.bulk_create(
        [sender for user_id, sender in told.items() if user_id not in known], ignore_conflicts=True
    )
    for user_id, sender in told.items():
        old = known.get(user_id)
        if old and sender.as_of > old.as_of and (sender.name, sender.avatar) != (old.name, old.avatar):
            Sender.objects.filter(pk=old.pk, as_of__lt=sender.as_of).update(
                name=sender.name, avatar=sender.avatar, as_of=sender.as_of
            )
