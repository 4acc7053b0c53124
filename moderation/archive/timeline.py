"""Queries for a conversation's messages in order, by key: (place in ms, row id).

A message's place is its timestamp, or its time of arrival when the timestamp is implausible.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from django.db.models import Count, Q, QuerySet

from moderation.applications.models import Application
from moderation.archive.models import Conversation, Message, Sender

Key = tuple[int, int]


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
    parts = ((of_it.filter(placed_at=None), "timestamp"), (of_it.filter(placed_at__isnull=False), "placed_at"))
    messages = [message for part, field in parts for message in _page_by(field, part, before, after, limit)]
    messages.sort(key=attrgetter("sort_time", "pk"))
    return messages[:limit] if after is not None else messages[-limit:]


def _page_by(
    field: str, messages: QuerySet[Message], before: Key | None, after: Key | None, limit: int
) -> QuerySet[Message]:
    """`page()` of `messages` whose place is in `field`, in any order."""
    if after is not None:
        place, pk = after
        # The plain comparison uses the index; the other one orders messages of the same millisecond.
        messages = messages.filter(Q(**{f"{field}__gt": place}) | Q(id__gt=pk), **{f"{field}__gte": place})
        return messages.order_by(field, "id")[:limit]
    if before is not None:
        place, pk = before
        messages = messages.filter(Q(**{f"{field}__lt": place}) | Q(id__lt=pk), **{f"{field}__lte": place})
    return messages.order_by(f"-{field}", "-id")[:limit]


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
    if since is not None:
        messages = messages.filter(timestamp__gte=since)
    if until is not None:
        messages = messages.filter(timestamp__lte=until)
    return list(messages.order_by("-timestamp", "-id")[:limit])[::-1]


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
