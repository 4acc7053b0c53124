"""Deletion of deliveries with a sender's messages. `privacy/erasure.py` selects them and records the erasure first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from django.db.models import QuerySet
from django.db.models.functions import Length

from moderation.applications.models import Application
from moderation.archive.rows import in_parts
from moderation.ingestion.deliveries import CHEAP_BYTES, Read, read_slices
from moderation.ingestion.models import WebhookDelivery

DELIVERIES_AT_ONCE = 500


def deliveries_with(
    application: Application, sender_id: str, timestamps: Collection[int] = (), *, after: int = 0
) -> dict[int, str]:
    """States, by key, of the deliveries with such messages and keys greater than `after`. Reads every delivery."""
    needle = sender_id.encode()
    states: dict[int, str] = {}
    kept = WebhookDelivery.objects.filter(application=application, pk__gt=after).order_by("pk")
    for pk, state, content in _contents(kept):
        # Any character may be escaped in JSON.
        if needle not in content and b"\\" not in content:
            continue
        if any(
            sender == sender_id and (not timestamps or timestamp in timestamps)
            for sender, timestamp in _senders(read_slices(content))
        ):
            states[pk] = state
    return states


def _contents(kept: QuerySet[WebhookDelivery]) -> Iterator[tuple[int, str, bytes]]:
    """Yield key, state and content of each; at most DELIVERIES_AT_ONCE small ones or one large one are in memory.

    Pages by key, because `iterator()` loads everything without server-side cursors (settings.py).
    """
    sized = kept.annotate(size=Length("content"))
    small = sized.filter(size__lte=CHEAP_BYTES).values_list("pk", "state", "content")
    after = 0
    while some := list(small.filter(pk__gt=after)[:DELIVERIES_AT_ONCE]):
        for pk, state, content in some:
            yield pk, state, bytes(content)
        after = some[-1][0]
    for large in list(sized.filter(size__gt=CHEAP_BYTES).values_list("pk", flat=True)):
        for pk, state, content in kept.filter(pk=large).values_list("pk", "state", "content"):
            yield pk, state, bytes(content)


def _senders(slices: Iterable[Read]) -> Iterator[tuple[str, object]]:
    """Yield sender and time (ms) of each message, including those that are not IM."""
    for read in slices:
        yield from ((message.sender_id, message.timestamp) for _target, message in read.messages)
        yield from ((each.sender_id, each.timestamp) for each in read.apart)


def still_there(pks: Sequence[int]) -> list[int]:
    """The keys of those deliveries that still exist."""
    return [
        pk for some in in_parts(pks) for pk in WebhookDelivery.objects.filter(pk__in=some).values_list("pk", flat=True)
    ]


def erase_deliveries(pks: Sequence[int]) -> None:
    """Delete deliveries inside the caller's transaction; other senders' messages in them stay in the archive."""
    for some in in_parts(pks):
        WebhookDelivery.objects.filter(pk__in=some).delete()
