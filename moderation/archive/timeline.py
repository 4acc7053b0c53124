"""Reading a conversation's messages in order, by key: (place in ms, row id). Pure questions to the archive.

A message's place is its timestamp, or when it arrived, where its timestamp is no plausible time.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from django.db.models import Count, Q, QuerySet

from moderation.applications.models import Application
from moderation.archive.models import Conversation, Message, Sender

Key = tuple[int, int]


def key_of(message: Message) -> str:
    """The message's place in the timeline as an address carries it: "<place>-<id>"."""
    return f"{message.sort_time}-{message.pk}"


def read_key(text: str) -> Key | None:
    """The key that `key_of` wrote, or None when `text` is none."""
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
        # The plain comparison is what the index answers; the other one settles the millisecond.
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
    """Those of `timestamps` (ms) at which there is more than one message, and how many there are."""
    wanted = list(set(timestamps))
    found: dict[int, int] = {}
    # In parts: SQLite bounds the number of parameters of one statement.
    for start in range(0, len(wanted), 500):
        counted = (
            Message.objects.filter(conversation=conversation, timestamp__in=wanted[start : start + 500])
            .order_by()
            .values_list("timestamp")
            .annotate(number=Count("pk"))
            .filter(number__gt=1)
        )
        found.update(counted)
    return found


def senders(application: Application, ids: Iterable[str]) -> dict[str, Sender]:
    """What is known of the users `ids`, by id; one query, and nothing for a user who is not known."""
    known = Sender.objects.filter(application=application, user_id__in=set(ids))
    return {sender.user_id: sender for sender in known}
