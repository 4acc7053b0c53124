"""Deleting deliveries that hold what somebody wrote. `privacy/erasure.py` decides which, and records it before."""

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
    """Webhook deliveries with keys beyond `after` that hold such messages, each with its state. Reads all there are."""
    needle = sender_id.encode()
    states: dict[int, str] = {}
    kept = WebhookDelivery.objects.filter(application=application, pk__gt=after).order_by("pk")
    for pk, state, content in _contents(kept):
        # JSON may write any character as an escape.
        if needle not in content and b"\\" not in content:
            continue
        if any(
            sender == sender_id and (not timestamps or timestamp in timestamps)
            for sender, timestamp in _senders(read_slices(content))
        ):
            states[pk] = state
    return states


def _contents(kept: QuerySet[WebhookDelivery]) -> Iterator[tuple[int, str, bytes]]:
    """Key, state and content of each: DELIVERIES_AT_ONCE are in memory at a time; of the large ones, one.

    By key, because `iterator()` holds everything in memory without server-side cursors (settings.py).
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
    """Sender and time (ms) of each message, those that are not in the archive included."""
    for read in slices:
        yield from ((message.sender_id, message.timestamp) for _target, message in read.messages)
        yield from ((each.sender_id, each.timestamp) for each in read.apart)


def still_there(pks: Sequence[int]) -> list[int]:
    """Those of these deliveries that nobody has deleted meanwhile."""
    return [
        pk for some in in_parts(pks) for pk in WebhookDelivery.objects.filter(pk__in=some).values_list("pk", flat=True)
    ]


def erase_deliveries(pks: Sequence[int]) -> None:
    """Delete deliveries, other people's messages in them included: those are in the archive; in the transaction."""
    for some in in_parts(pks):
        WebhookDelivery.objects.filter(pk__in=some).delete()
