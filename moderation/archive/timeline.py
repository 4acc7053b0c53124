"""Queries for a conversation's messages in order, by key: (place in ms, row id).

A message's place is its timestamp, or its time of arrival when the timestamp is implausible.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, TypeVar

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery

from moderation.applications.models import Application
from moderation.archive import moments
from moderation.archive.models import Conversation, Message, Sender

Key = tuple[int, int]
Row = TypeVar("Row")


def key_of(message: Message) -> str:
    """The message's key in the timeline as written in a URL: "<place>-<id>"."""
    return f"{message.sort_time}-{message.pk}"


def read_key(text: str) -> Key | None:
    """Parse a key that `key_of` wrote; None when `text` is malformed."""
    place, _dash, pk = text.partition("-")
    if not all(part.isascii() and part.isdigit() and len(part) <= 19 for part in (place, pk)):
        return None
    key = int(place), int(pk)
    return key if max(key) < 2**63 else None


def page(
    conversation: Conversation, *, before: Key | None = None, after: Key | None = None, limit: int = 60
) -> list[Message]:
    """At most `limit` messages, oldest first: the first ones after a key, or the last ones before it or of all."""
    of_it = Message.objects.filter(conversation=conversation)
    if after is None:
        return newest(of_it, before=before, limit=limit)[::-1]
    messages = [message for part, field in _by_place(of_it) for message in _following(part, field, after, limit)]
    return sorted(messages, key=attrgetter("sort_time", "pk"))[:limit]


def newest(messages: QuerySet[Message], *, before: Key | None = None, limit: int, **span: int | None) -> list[Message]:
    """The newest `limit` of `messages`, by their place, before a key and in a span; newest first."""
    parts = (part for part, _field in newest_of_each(messages, before=before, **span))
    return merged(parts, attrgetter("sort_time", "pk"), limit)


def newest_of(conversations: Iterable[Conversation]) -> dict[int, Message]:
    """The newest message of each conversation that has one, by the conversation's key; two queries, however many.

    Each is found at the end of an index (`message_timeline`, `message_placed_by_arrival`), nothing is sorted:
    for certain within `following_indexes()`.
    """
    of_each = newest_of_each(Message.objects.filter(conversation=OuterRef("pk")), since=moments.EARLIEST)
    ends = {f"newest_by_{field}": Subquery(part.values("pk")[:1]) for part, field in of_each}
    keys = Conversation.objects.filter(pk__in=[each.pk for each in conversations]).annotate(**ends).values_list(*ends)
    pks = [pk for row in keys for pk in row if pk is not None]
    newest: dict[int, Message] = {}
    for message in Message.objects.filter(pk__in=pks).defer("recalled_raw"):
        other = newest.get(message.conversation_id)
        if other is None or (message.sort_time, message.pk) > (other.sort_time, other.pk):
            newest[message.conversation_id] = message
    return newest


def merged(parts: Iterable[QuerySet[Any, Row]], key: Callable[[Row], Any], limit: int) -> list[Row]:
    """The first `limit` rows of the parts that `newest_of_each` returned; `key` is a row's place and id."""
    return sorted((row for part in parts for row in part[:limit]), key=key, reverse=True)[:limit]


def newest_of_each(
    messages: QuerySet[Message], *, before: Key | None = None, since: int | None = None, until: int | None = None
) -> list[tuple[QuerySet[Message], str]]:
    """`messages` before a key and in a span of time (ms, ends included), newest first: those that stand at their
    timestamp, and those that stand where they arrived, each with the field of their place. An index answers each.
    """
    parts = []
    for part, field in _by_place(messages):
        if since is not None:
            part = part.filter(**{f"{field}__gte": since})
        if until is not None:
            part = part.filter(**{f"{field}__lte": until})
        if before is not None:
            place, pk = before
            # The plain comparison is what the index answers; the other one settles the millisecond.
            part = part.filter(Q(**{f"{field}__lt": place}) | Q(id__lt=pk), **{f"{field}__lte": place})
        parts.append((part.order_by(f"-{field}", "-id"), field))
    return parts


def _by_place(messages: QuerySet[Message]) -> tuple[tuple[QuerySet[Message], str], ...]:
    """The two parts of `messages`, and the field that each one's place is in."""
    # No plausible time is later, even by the clock of another machine. An index of timestamps begins with such times,
    # and a whole archive of them would be passed over at every search.
    latest = int(time.time() * 1000) + 2 * moments.MAX_AHEAD
    plausibly = messages.filter(placed_at=None, timestamp__lte=latest)
    return (plausibly, "timestamp"), (messages.filter(placed_at__isnull=False), "placed_at")


def _following(messages: QuerySet[Message], field: str, after: Key, limit: int) -> QuerySet[Message]:
    """At most `limit` messages after a key, by the place in `field`."""
    place, pk = after
    messages = messages.filter(Q(**{f"{field}__gt": place}) | Q(id__gt=pk), **{f"{field}__gte": place})
    return messages.order_by(field, "id")[:limit]


def select(
    conversation: Conversation,
    *,
    sender: str | None = None,
    since: int | None = None,
    until: int | None = None,
    limit: int,
) -> list[Message]:
    """The newest `limit` messages of a sender, of a span of time (ms, ends included), or of both; oldest first."""
    messages = Message.objects.filter(conversation=conversation)
    if sender is not None:
        messages = messages.filter(sender_id=sender)
    return newest(messages, since=since, until=until, limit=limit)[::-1]


def sharing(conversation: Conversation, timestamps: Iterable[int]) -> dict[int, int]:
    """The number of messages at each of `timestamps` (ms) that several messages share."""
    wanted = list(set(timestamps))
    counts: dict[int, int] = {}
    # In parts, because SQLite limits the number of parameters in one statement.
    for start in range(0, len(wanted), 500):
        counted = (
            Message.objects.filter(conversation=conversation, timestamp__in=wanted[start : start + 500])
            .order_by()
            .values_list("timestamp")
            .annotate(number=Count("pk"))
            .filter(number__gt=1)
        )
        counts.update(counted)
    return counts


def senders(application: Application, ids: Iterable[str]) -> dict[str, Sender]:
    """The stored senders among the users `ids`, by id; one query."""
    rows = Sender.objects.filter(application=application, user_id__in=set(ids))
    return {sender.user_id: sender for sender in rows}
