"""What is unread: messages that arrived since a person last looked at a conversation, by row id, not by the clock.

A conversation that the person never opened has no marker and counts as read: otherwise everything would be unread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import F, OuterRef, Q, Subquery, TextField

from moderation.accounts.models import User
from moderation.archive.arrivals import MAX_NEWS, MAX_REMEMBERED, Mark, read_mark
from moderation.archive.models import Conversation, Message
from moderation.desk.models import ReadMarker

# Unread messages are counted up to this number, which stands for more.
MAX_UNREAD = MAX_NEWS + 1


def remember(user: User, conversation: Conversation, mark: Mark, *, since: int) -> None:
    """Store that the person has seen what `mark` covers of the messages placed from `since` (ms) on.

    Writes nothing when that is stored already, as for a conversation in which nothing has happened.
    """
    mark = _shortened(mark)
    values = {"mark": str(mark), "floor": mark.floor, "since": since}
    if ReadMarker.objects.filter(user=user, conversation=conversation, **values).exists():
        return
    ReadMarker.objects.bulk_create(
        [ReadMarker(user=user, conversation=conversation, **values)],
        update_conflicts=True,
        unique_fields=["user", "conversation"],
        update_fields=list(values),
    )


def _shortened(mark: Mark) -> Mark:
    """The mark with the newest MAX_REMEMBERED rows above its floor, which rises as far as that requires."""
    known = sorted(mark.known)
    if len(known) <= MAX_REMEMBERED:
        return mark
    kept = known[-MAX_REMEMBERED:]
    return Mark(max(mark.floor, kept[0] - 1), frozenset(kept), mark.missing)


class _Ids(Subquery):
    """The ids that a query returns as one text, with commas between; NULL when there are none."""

    template = "(SELECT GROUP_CONCAT(arrived.id) FROM (%(subquery)s) arrived)"
    output_field = TextField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        template = "(SELECT STRING_AGG(arrived.id::text, ',') FROM (%(subquery)s) arrived)"
        return self.as_sql(compiler, connection, template=template, **extra)


def unread(user: User, conversations: Iterable[Conversation]) -> dict[int, int]:
    """Numbers of unread messages, at most MAX_UNREAD, by conversation, of those that have any; one query.

    Of each conversation only the rows behind its marker's floor are read, up to a limit (index `message_by_arrival`):
    for certain within `following_indexes()`.
    """
    since = OuterRef("since")
    placed = Q(placed_at=None, timestamp__gte=since) | Q(placed_at__gte=since)
    arrived = Message.objects.filter(placed, conversation=OuterRef("conversation_id"), id__gt=OuterRef("floor"))
    some = arrived.order_by("id").values("id")[: MAX_REMEMBERED + MAX_UNREAD]
    markers = ReadMarker.objects.filter(user=user, conversation__in=[each.pk for each in conversations])
    counts = {}
    for pk, text, ids in markers.annotate(arrived=_Ids(some)).values_list(F("conversation_id"), "mark", "arrived"):
        mark = read_mark(text) or Mark()
        new = {int(number) for number in (ids or "").split(",") if number} - (mark.known - mark.missing)
        if number := len(new | mark.missing):
            counts[pk] = min(number, MAX_UNREAD)
    return counts
