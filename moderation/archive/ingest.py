"""Ingestion of messages. The only writer of Message: every reader of GoEasy passes raw text to `ingest()`."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction
from django.utils import timezone

from moderation.applications.models import Application
from moderation.archive import moments as plausible
from moderation.archive import rows, signals
from moderation.archive.models import Conversation, Message, Sender, pair
from moderation.goeasy.answers import json_value
from moderation.goeasy.client import Group, Private, Target
from moderation.goeasy.errors import InvalidCall
from moderation.goeasy.fields import name_of, object_of, recall_mark, storable, text_of, timestamp_of

# Fields copied from the message when its recall mark arrived before it.
MESSAGE_FIELDS = ("timestamp", "placed_at", "sender_id", "type", "raw", "sha256", "payload_sha256")


@dataclass(frozen=True)
class Ingested:
    """Counts of rows added and rows newly marked as recalled, unreadable texts, and timestamps (ms) of the added rows.

    `missed`: messages added from history that the webhook should have delivered. `erased`: places (see `place`) of
    messages that arrived again after their text was erased on request, and were not stored.
    """

    added: int
    recalled: int
    unreadable: tuple[str, ...]
    times: tuple[int, ...] = ()
    missed: int = 0
    erased: frozenset[tuple[int, int, str]] = frozenset()


def place(message: Message) -> tuple[int, int, str]:
    """Conversation, time (ms) and sender: all that identifies an erased message without an id."""
    return (message.conversation_id, message.timestamp, message.sender_id)


def sha256(text: str) -> str:
    """SHA-256 of `text` in UTF-8, in hex; a lone surrogate is hashed as its JSON escape."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def read_message(raw: str, data: Any = None) -> Message | None:
    """Parse `raw` into an unsaved Message without a conversation; None when it is not an object with a timestamp.

    `timestamp` is in milliseconds since the epoch (docs/goeasy-api.md, "History"). `data` is the parsed
    value of `raw`, if the caller has it. `goeasy/fields.py` lists the accepted forms of each field.
    """
    try:
        data = json_value(raw.strip()) if data is None else data
        timestamp = timestamp_of(data) if isinstance(data, dict) else None
        if timestamp is None:
            return None
        payload_sha256 = _payload_sha256(data.get("type"), data.get("payload"))
    except ValueError:
        # Not JSON.
        return None
    raw = raw.replace("\x00", "\ufffd")
    seen_at = timezone.now()
    arrived = int(seen_at.timestamp() * 1000)
    message = Message(
        timestamp=timestamp,
        placed_at=None if plausible.is_plausible(timestamp, arrived) else arrived,
        message_id=storable(data.get("messageId"), 255),
        sender_id=storable(data.get("senderId"), 255),
        type=storable(data.get("type"), 64),
        raw=raw,
        sha256=sha256(raw),
        payload_sha256=payload_sha256,
        recalled=recall_mark(data) is True,
        seen_at=seen_at,
    )
    # Avoid parsing it again.
    message.data = data
    return message


def _payload_sha256(kind: object, payload: object) -> str:
    return sha256(json.dumps([kind, payload], sort_keys=True))


def target_of(message: Message) -> Target | None:
    """The conversation that a delivered message names; None when it names none."""
    data, to = message.data, _to(message.data)
    try:
        if group := data.get("groupId") or (to.get("id") if to.get("type") == "group" else None):
            return Group(text_of(group))
        return Private(text_of(data.get("senderId")), text_of(data.get("receiverId") or to.get("id")))
    except InvalidCall:
        return None


def _to(data: dict[str, Any]) -> dict[str, Any]:
    """The member `to` of a message that names its receiver as a send does (docs/goeasy-api.md, "Send")."""
    return object_of(data.get("to"))


def ingest(conversation: Conversation, raws: Iterable[str]) -> Ingested:
    """Store the messages in `raws` (one JSON text each, exactly as GoEasy wrote it) in `conversation`.

    Idempotent and independent of order: a stored message stays as it is, except that a recall is recorded. When a
    message and its recall mark both arrive, the message keeps its own text.
    """
    messages, unreadable = [], []
    for raw in raws:
        if (message := read_message(raw)) is None:
            unreadable.append(raw)
        else:
            messages.append(message)
    return replace(ingest_messages(conversation, messages), unreadable=tuple(unreadable))


def ingest_messages(conversation: Conversation, messages: list[Message]) -> Ingested:
    """`ingest()` for messages that `read_message()` has parsed."""
    for message in messages:
        message.conversation_id = conversation.pk
    if not messages:
        return Ingested(0, 0, ())
    with transaction.atomic():
        return _write(conversation.application_id, messages)


def conversations_of(application: Application, targets: Iterable[Target]) -> dict[Target, int]:
    """Return the keys of the conversations that `targets` name, creating new ones.

    Call it outside the transaction that writes their messages, so that creating a conversation holds no other lock.
    """
    in_order = {target: _in_order(target) for target in targets}
    existing = rows.conversation_ids(application.pk, list(dict.fromkeys(in_order.values())))
    return {target: existing.get(ordered) or _open(application, target) for target, ordered in in_order.items()}


def _open(application: Application, target: Target) -> int:
    """Return the key of a conversation, creating it unless another writer just did."""
    with rows.writing():
        return Conversation.objects.open(application, target).pk


def ingest_delivered(
    application: Application, conversations: dict[Target, int], delivered: Iterable[tuple[Target, Message]]
) -> Ingested:
    """Store messages of several `conversations`, inside the caller's transaction; otherwise like `ingest()`."""
    messages = []
    for target, message in delivered:
        message.conversation_id = conversations[target]
        messages.append(message)
    return _write(application.pk, messages)


def _in_order(target: Target) -> Target:
    return Private(*pair(target.user_a, target.user_b)) if isinstance(target, Private) else target


def _identity(message: Message) -> tuple[object, ...]:
    """The message's identity: conversation and id, else conversation, time, sender and payload."""
    if message.message_id:
        return (message.conversation_id, message.message_id)
    return (message.conversation_id, message.timestamp, message.sender_id, message.payload_sha256)


def _stored_rows(messages: Iterable[Message]) -> Iterator[Message]:
    """The stored rows of `messages`."""
    by_conversation: dict[int, list[Message]] = defaultdict(list)
    for message in messages:
        by_conversation[message.conversation_id].append(message)
    for pk, mine in by_conversation.items():
        stored = Message.objects.filter(conversation=pk).defer("raw", "recalled_raw")
        for some in rows.in_parts(mine):
            if ids := [message.message_id for message in some if message.message_id]:
                # Excluding empty ids lets the database use its partial index.
                yield from stored.filter(message_id__in=ids).exclude(message_id="")
            if timestamps := [message.timestamp for message in some if not message.message_id]:
                yield from stored.filter(message_id="", timestamp__in=timestamps)


def _merge(stored: Message, incoming: Message) -> tuple[str, ...]:
    """Copy to `stored` what `incoming`, the same message, adds; return the names of the changed fields."""
    if stored.is_erased:
        is_news, stored.recalled = incoming.recalled and not stored.recalled, stored.recalled or incoming.recalled
        return ("recalled",) if is_news else ()
    if incoming.recalled and not stored.recalled:
        stored.recalled, stored.recalled_raw = True, incoming.raw
        return ("recalled", "recalled_raw")
    if stored.recalled and ((not stored.recalled_raw and not incoming.recalled) or _restores_payload(stored, incoming)):
        # The recall mark came first: take the text from the message, and keep the mark as the recall.
        stored.recalled_raw = stored.recalled_raw or stored.raw
        for name in MESSAGE_FIELDS:
            setattr(stored, name, getattr(incoming, name))
        stored.data = incoming.data
        return (*MESSAGE_FIELDS, "recalled_raw")
    return ()


def _restores_payload(stored: Message, incoming: Message) -> bool:
    """Whether `incoming` has a payload and `stored`, a recalled message, has none."""
    if "payload" not in incoming.data or stored.payload_sha256 == incoming.payload_sha256:
        return False
    return stored.payload_sha256 == _payload_sha256(stored.type or None, None)


def _save(row: Message, names: tuple[str, ...]) -> bool:
    """Save the named fields; return False when the text was erased meanwhile, which must not bring it back."""
    mine = Message.objects.filter(pk=row.pk)
    if "recalled_raw" in names:
        mine = mine.exclude(sha256="")
    return bool(mine.update(**{name: getattr(row, name) for name in names}))


def _take_out_erased(new: list[Message]) -> frozenset[tuple[int, int, str]]:
    """Remove from `new` and the archive the messages without an id at places of erased ones; return those places."""
    without_id = [message for message in new if not message.message_id]
    erased: set[tuple[int, int, str]] = set()
    for some in rows.in_parts(without_id):
        gone = Message.objects.filter(message_id="", sha256="", timestamp__in=[each.timestamp for each in some])
        erased.update(gone.values_list("conversation_id", "timestamp", "sender_id"))
    back = [message for message in without_id if place(message) in erased]
    for some in rows.in_parts(back):
        Message.objects.filter(pk__in=[message.pk for message in some]).delete()
        for message in some:
            new.remove(message)
    return frozenset(map(place, back))


def _write(application_id: int, messages: list[Message]) -> Ingested:
    """Write `messages`: new rows first, then changes to stored ones, to conversations, and to names.

    Every writer uses the same order, to avoid deadlocks.
    """
    by_identity: dict[tuple[object, ...], Message] = {}
    newest: dict[int, int] = {}
    for message in messages:
        if (same := by_identity.setdefault(_identity(message), message)) is not message:
            _merge(same, message)
        pk = message.conversation_id
        newest[pk] = max(newest.get(pk, 0), message.sort_time)
    new = rows.insert_messages(sorted(by_identity.values(), key=rows.key))
    erased = _take_out_erased(new)
    changed: list[tuple[Message, tuple[str, ...]]] = []
    if len(new) < len(by_identity):
        for message in new:
            del by_identity[_identity(message)]
        stored = [row for row in _stored_rows(by_identity.values()) if _identity(row) in by_identity]
        erased |= {place(row) for row in stored if row.is_erased}
        learned = ((row, _merge(row, by_identity[_identity(row)])) for row in sorted(stored, key=lambda row: row.pk))
        changed = [(row, names) for row, names in learned if names and _save(row, names)]
    # The text of a stored row changes only where its recall mark had come first.
    signals.added.send(None, messages=new)
    signals.changed.send(None, messages=[row for row, names in changed if "raw" in names])
    rows.advance(sorted(newest.items()))
    _update_names(application_id, messages)
    return Ingested(len(new), len(changed), (), tuple(message.timestamp for message in new), erased=erased)


@dataclass(frozen=True)
class Profile:
    """Name and avatar of a user or a group as of the time `as_of` (ms; never after the message's arrival)."""

    name: str
    avatar: str
    as_of: int


def _profile_in(value: object, as_of: int) -> Profile | None:
    """The profile in `value`, a member such as `senderData`; None when it has neither name nor avatar."""
    data = object_of(value)
    name = storable(name_of(data), 255)
    avatar = storable(data.get("avatar"), 2000)
    return Profile(name, avatar, as_of) if name or avatar else None


def _update_names(application_id: int, messages: Iterable[Message]) -> None:
    """Store the newest names and avatars of senders, receivers and groups in `messages`."""
    people: dict[str, Profile] = {}
    groups: dict[int, Profile] = {}
    for message in sorted(messages, key=lambda message: message.sort_time):
        data, to = message.data, _to(message.data)
        # A name from a message dated ahead must not outlast later names.
        at = min(message.sort_time, int(message.seen_at.timestamp() * 1000))
        if message.sender_id and (profile := _profile_in(data.get("senderData"), at)):
            people[message.sender_id] = profile
        if data.get("groupId") or to.get("type") == "group":
            if profile := _profile_in(data.get("groupData") or to.get("data"), at):
                groups[message.conversation_id] = profile
        elif profile := _profile_in(data.get("receiverData") or to.get("data"), at):
            people[storable(data.get("receiverId") or to.get("id"), 255)] = profile
    for pk, profile in groups.items():
        Conversation.objects.filter(pk=pk, named_as_of__lt=profile.as_of).update(
            **_profile_fields(profile), named_as_of=profile.as_of
        )
    people.pop("", None)
    # Every writer uses the same order, to avoid deadlocks.
    for some in rows.in_parts(sorted(people)):
        _update_people(application_id, {user_id: people[user_id] for user_id in some})


def _update_people(application_id: int, profiles: dict[str, Profile]) -> None:
    profiles = {
        user_id: profile
        for user_id, profile in profiles.items()
        if _is_news(profile, rows.sender_cache.get((application_id, user_id)))
    }
    if not profiles:
        return
    stored = rows.senders(application_id, list(profiles))
    new = [
        Sender(
            application_id=application_id,
            user_id=user_id,
            name=profile.name,
            avatar=profile.avatar,
            as_of=profile.as_of,
        )
        for user_id, profile in profiles.items()
        if user_id not in stored
    ]
    if new:
        # Another writer may insert the same people; its rows serve as well.
        Sender.objects.bulk_create(new, ignore_conflicts=True)
    for user_id, profile in profiles.items():
        old = stored.get(user_id)
        if old and profile.as_of > old.as_of and _is_news(profile, old):
            Sender.objects.filter(pk=old.pk, as_of__lt=profile.as_of).update(
                **_profile_fields(profile), as_of=profile.as_of, rules=None
            )
            rows.sender_cache.forget((application_id, user_id))


def _is_news(profile: Profile, stored: Sender | None) -> bool:
    """Whether the profile differs from the stored one."""
    return not stored or any(getattr(stored, name) != value for name, value in _profile_fields(profile).items())


def _profile_fields(profile: Profile) -> dict[str, str]:
    """The fields that the message contains; a missing one keeps its stored value."""
    return {name: value for name, value in (("name", profile.name), ("avatar", profile.avatar)) if value}
