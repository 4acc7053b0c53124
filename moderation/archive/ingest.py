"""The only writer of Message: whatever reads messages from GoEasy hands their raw text to `ingest()`."""

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

# What is taken from the message itself when the mark that it was recalled came first.
TOLD = ("timestamp", "placed_at", "sender_id", "type", "raw", "sha256", "payload_sha256")


@dataclass(frozen=True)
class Ingested:
    """Rows added, rows that learned of a recall, texts that are no message, timestamps (ms) of what was added.

    `missed`: of what history added, what the webhook should have brought. `erased`: where messages are that were told
    again after their text was erased on request, and that did not come back (see `place`).
    """

    added: int
    recalled: int
    unreadable: tuple[str, ...]
    times: tuple[int, ...] = ()
    missed: int = 0
    erased: frozenset[tuple[int, int, str]] = frozenset()


def place(message: Message) -> tuple[int, int, str]:
    """Conversation, time (ms) and sender: what is left of a message without an id whose text was erased."""
    return (message.conversation_id, message.timestamp, message.sender_id)


def sha256(text: str) -> str:
    """SHA-256 of `text` in UTF-8, in hex; a lone surrogate counts as the escape that JSON would write."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def read_message(raw: str, data: Any = None) -> Message | None:
    """`raw` as an unsaved Message of no conversation yet, or None when it is not an object with a timestamp.

    `timestamp` is in milliseconds since the epoch (goeasy-api.md, "History"). `data` is what `raw` says, if it was
    read already. In which forms a field is accepted: `goeasy/fields.py`.
    """
    try:
        data = json_value(raw.strip()) if data is None else data
        timestamp = timestamp_of(data) if isinstance(data, dict) else None
        if timestamp is None:
            return None
        payload_sha256 = _payload_sha256(data.get("type"), data.get("payload"))
    except ValueError:
        # No JSON.
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
    # Read once.
    message.data = data
    return message


def _payload_sha256(kind: object, payload: object) -> str:
    return sha256(json.dumps([kind, payload], sort_keys=True))


def target_of(message: Message) -> Target | None:
    """The conversation that the message itself names, as one that was delivered has to; None when it names none."""
    data, to = message.data, _to(message.data)
    try:
        if group := data.get("groupId") or (to.get("id") if to.get("type") == "group" else None):
            return Group(text_of(group))
        return Private(text_of(data.get("senderId")), text_of(data.get("receiverId") or to.get("id")))
    except InvalidCall:
        return None


def _to(data: dict[str, Any]) -> dict[str, Any]:
    """`to` of a message that tells its receiver as a send does (goeasy-api.md, "Send")."""
    return object_of(data.get("to"))


def ingest(conversation: Conversation, raws: Iterable[str]) -> Ingested:
    """Keep the messages in `raws` (one JSON text each, exactly as GoEasy wrote it) for `conversation`.

    Idempotent, and the same whatever the order: a message that is there already is left as it is, but for a recall,
    which is learned; of a message and the mark that it was recalled, what was said is the message.
    """
    messages, unreadable = [], []
    for raw in raws:
        if (message := read_message(raw)) is None:
            unreadable.append(raw)
        else:
            messages.append(message)
    return replace(ingest_messages(conversation, messages), unreadable=tuple(unreadable))


def ingest_messages(conversation: Conversation, messages: list[Message]) -> Ingested:
    """`ingest()`, of what `read_message()` has read."""
    for message in messages:
        message.conversation_id = conversation.pk
    if not messages:
        return Ingested(0, 0, ())
    with transaction.atomic():
        return _keep(conversation.application_id, messages)


def conversations_of(application: Application, targets: Iterable[Target]) -> dict[Target, int]:
    """The keys of the application's conversations that `targets` name; those that are new are opened.

    Call it outside the transaction that goes on to write to them: who opens one holds on to nothing else.
    """
    in_order = {target: _in_order(target) for target in targets}
    known = rows.conversation_ids(application.pk, list(dict.fromkeys(in_order.values())))
    return {target: known.get(ordered) or _open(application, target) for target, ordered in in_order.items()}


def _open(application: Application, target: Target) -> int:
    """The key of a conversation that is new here, or was until a moment ago."""
    with rows.writing():
        return Conversation.objects.open(application, target).pk


def ingest_delivered(
    application: Application, conversations: dict[Target, int], delivered: Iterable[tuple[Target, Message]]
) -> Ingested:
    """Keep messages of any of `conversations`, inside the caller's transaction; otherwise as `ingest()`."""
    messages = []
    for target, message in delivered:
        message.conversation_id = conversations[target]
        messages.append(message)
    return _keep(application.pk, messages)


def _in_order(target: Target) -> Target:
    return Private(*pair(target.user_a, target.user_b)) if isinstance(target, Private) else target


def _identity(message: Message) -> tuple[object, ...]:
    """What makes two messages the same: conversation and id, else conversation, time, sender and payload."""
    if message.message_id:
        return (message.conversation_id, message.message_id)
    return (message.conversation_id, message.timestamp, message.sender_id, message.payload_sha256)


def _known(messages: Iterable[Message]) -> Iterator[Message]:
    """The rows that the archive has of `messages`."""
    by_conversation: dict[int, list[Message]] = defaultdict(list)
    for message in messages:
        by_conversation[message.conversation_id].append(message)
    for pk, mine in by_conversation.items():
        known = Message.objects.filter(conversation=pk).defer("raw", "recalled_raw")
        for some in rows.in_parts(mine):
            if ids := [message.message_id for message in some if message.message_id]:
                # What is excluded tells the database that its index without empty ids has them all.
                yield from known.filter(message_id__in=ids).exclude(message_id="")
            if timestamps := [message.timestamp for message in some if not message.message_id]:
                yield from known.filter(message_id="", timestamp__in=timestamps)


def _learn(known: Message, told: Message) -> tuple[str, ...]:
    """Let `known` take from `told`, the same message, what it does not tell yet; return the fields that are news."""
    if known.is_erased:
        is_news, known.recalled = told.recalled and not known.recalled, known.recalled or told.recalled
        return ("recalled",) if is_news else ()
    if told.recalled and not known.recalled:
        known.recalled, known.recalled_raw = True, told.raw
        return ("recalled", "recalled_raw")
    if known.recalled and ((not known.recalled_raw and not told.recalled) or _tells_what_was_said(known, told)):
        # The mark came first. What was said is the message, and the mark is what told of the recall.
        known.recalled_raw = known.recalled_raw or known.raw
        for name in TOLD:
            setattr(known, name, getattr(told, name))
        known.data = told.data
        return (*TOLD, "recalled_raw")
    return ()


def _tells_what_was_said(known: Message, told: Message) -> bool:
    """Whether `told` has a payload and `known`, a recalled message, has none."""
    if "payload" not in told.data or known.payload_sha256 == told.payload_sha256:
        return False
    return known.payload_sha256 == _payload_sha256(known.type or None, None)


def _save(row: Message, names: tuple[str, ...]) -> bool:
    """Write what the row has learned; return whether that is so: no text comes back that was erased meanwhile."""
    mine = Message.objects.filter(pk=row.pk)
    if "recalled_raw" in names:
        mine = mine.exclude(sha256="")
    return bool(mine.update(**{name: getattr(row, name) for name in names}))


def _take_out_erased(new: list[Message]) -> frozenset[tuple[int, int, str]]:
    """Take out of `new`, and of the archive, messages without an id where such ones were erased; return where."""
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


def _keep(application_id: int, messages: list[Message]) -> Ingested:
    """Write `messages`: new ones first, then what is learned of others, of conversations, and of people.

    Each of these in one order everywhere: two writers would otherwise wait for each other for ever.
    """
    found: dict[tuple[object, ...], Message] = {}
    newest: dict[int, int] = {}
    for message in messages:
        if (same := found.setdefault(_identity(message), message)) is not message:
            _learn(same, message)
        pk = message.conversation_id
        newest[pk] = max(newest.get(pk, 0), message.sort_time)
    new = rows.insert_messages(sorted(found.values(), key=rows.key))
    erased = _take_out_erased(new)
    changed: list[tuple[Message, tuple[str, ...]]] = []
    if len(new) < len(found):
        for message in new:
            del found[_identity(message)]
        known = [row for row in _known(found.values()) if _identity(row) in found]
        erased |= {place(row) for row in known if row.is_erased}
        learned = ((row, _learn(row, found[_identity(row)])) for row in sorted(known, key=lambda row: row.pk))
        changed = [(row, names) for row, names in learned if names and _save(row, names)]
    # Of what was known, the words have changed where the mark of a recall had come first.
    signals.added.send(None, messages=new)
    signals.changed.send(None, messages=[row for row, names in changed if "raw" in names])
    rows.advance(sorted(newest.items()))
    _learn_names(application_id, messages)
    return Ingested(len(new), len(changed), (), tuple(message.timestamp for message in new), erased=erased)


@dataclass(frozen=True)
class About:
    """Name and avatar of a user or a group in a message of `as_of` (ms; never after its arrival)."""

    name: str
    avatar: str
    as_of: int


def _about(value: object, as_of: int) -> About | None:
    """Name and avatar in `value`, a member such as `senderData`; None when it has neither."""
    data = object_of(value)
    name = storable(name_of(data), 255)
    avatar = storable(data.get("avatar"), 2000)
    return About(name, avatar, as_of) if name or avatar else None


def _learn_names(application_id: int, messages: Iterable[Message]) -> None:
    """Keep the newest names and avatars that `messages` tell of senders, receivers and groups."""
    people: dict[str, About] = {}
    groups: dict[int, About] = {}
    for message in sorted(messages, key=lambda message: message.sort_time):
        data, to = message.data, _to(message.data)
        # A name from a message dated ahead must not outlast later names.
        at = min(message.sort_time, int(message.seen_at.timestamp() * 1000))
        if message.sender_id and (about := _about(data.get("senderData"), at)):
            people[message.sender_id] = about
        if data.get("groupId") or to.get("type") == "group":
            if about := _about(data.get("groupData") or to.get("data"), at):
                groups[message.conversation_id] = about
        elif about := _about(data.get("receiverData") or to.get("data"), at):
            people[storable(data.get("receiverId") or to.get("id"), 255)] = about
    for pk, about in groups.items():
        Conversation.objects.filter(pk=pk, named_as_of__lt=about.as_of).update(**_told(about), named_as_of=about.as_of)
    people.pop("", None)
    # In one order everywhere: two writers with the same people would otherwise wait for each other for ever.
    for some in rows.in_parts(sorted(people)):
        _learn_people(application_id, {user_id: people[user_id] for user_id in some})


def _learn_people(application_id: int, told: dict[str, About]) -> None:
    told = {
        user_id: about for user_id, about in told.items() if _is_news(about, rows.met.get((application_id, user_id)))
    }
    if not told:
        return
    known = rows.senders(application_id, list(told))
    new = [
        Sender(application_id=application_id, user_id=user_id, name=about.name, avatar=about.avatar, as_of=about.as_of)
        for user_id, about in told.items()
        if user_id not in known
    ]
    if new:
        # Another writer may have met them, too: its row is as good as ours.
        Sender.objects.bulk_create(new, ignore_conflicts=True)
    for user_id, about in told.items():
        old = known.get(user_id)
        if old and about.as_of > old.as_of and _is_news(about, old):
            Sender.objects.filter(pk=old.pk, as_of__lt=about.as_of).update(
                **_told(about), as_of=about.as_of, rules=None
            )
            rows.met.forget((application_id, user_id))


def _is_news(about: About, known: Sender | None) -> bool:
    """Whether it says something else than what is known."""
    return not known or any(getattr(known, name) != value for name, value in _told(about).items())


def _told(about: About) -> dict[str, str]:
    """The fields that the message told: one that it left out stays as it was."""
    return {name: value for name, value in (("name", about.name), ("avatar", about.avatar)) if value}
