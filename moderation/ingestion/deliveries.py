"""Webhook deliveries: stored before they are acknowledged, then read at once when small, else by the worker.

A delivery is a JSON text: one message or an array of them. Its possible envelopes are undocumented (docs/goeasy-api.md,
"Webhook"), so messages are searched for leniently, and a delivery without any stays as received, for a person to
examine. Messages of customer service and of PubSub are not IM and cannot be recalled. They are counted, and kept with
their delivery as long as any other.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import timezone

from moderation.applications.models import Application
from moderation.archive.ingest import (
    conversations_of,
    ingest_delivered,
    place,
    read_message,
    target_of,
)
from moderation.archive.models import Message
from moderation.archive.rows import clear_caches, writing
from moderation.goeasy.answers import json_parts, json_value
from moderation.goeasy.client import Target
from moderation.goeasy.fields import storable
from moderation.ingestion import feed
from moderation.ingestion.models import WebhookDelivery
from moderation.ingestion.rows import insert_deliveries

log = logging.getLogger(__name__)

State = WebhookDelivery.State
# Larger deliveries wait for the worker, because GoEasy expects an answer within 3 seconds. It is also the limit for
# deliveries that share a commit.
CHEAP_BYTES = 128 * 1024
# Nested envelopes are opened to this depth.
MAX_ENVELOPES = 4
# A failed delivery is retried after this (seconds), then after twice as long, and so on.
FIRST_WAIT = 10.0
MAX_TRIES = 6
# Deliveries deleted at a time.
MAX_PRUNED = 10_000
# Messages of a delivery that a worker writes at a time; others may write in between.
SLICE = 200
# How long a delivery is reserved for the worker that has begun with it.
LEASE, LEASE_OF_LARGE = timedelta(minutes=1), timedelta(minutes=10)


class NonImMessage(NamedTuple):
    """A message that is not IM: its category, sender ("" if it names none) and time (ms)."""

    category: feed.Metric
    sender_id: str
    timestamp: object


@dataclass(frozen=True)
class Read:
    """Messages read from a delivery or a part of it, each with its conversation.

    `apart`: messages that are not IM. `problem`: why the rest was not read (a key of `models.PROBLEMS`), which concerns
    `bad` of `total` messages.
    """

    messages: list[tuple[Target, Message]] = field(default_factory=list)
    apart: list[NonImMessage] = field(default_factory=list)
    problem: str = ""
    detail: str = ""
    bad: int = 0
    total: int = 0


def read_content(content: bytes) -> Read:
    """Read a delivery's content. Raises nothing."""
    return next(read_slices(content, None), Read())


def read_slices(content: bytes, size: int | None = SLICE) -> Iterator[Read]:
    """Read a delivery's content, `size` messages at a time (None: all at once). Raises nothing."""
    try:
        elements = _elements(content.decode("utf-8-sig"))
        while some := list(islice(elements, size)):
            yield _read(some)
    except UnicodeDecodeError as error:
        yield Read(problem="not_utf8", detail=str(error)[:500])
    except ValueError as error:
        yield Read(problem="not_json", detail=str(error)[:500])


def _read(elements: list[tuple[str, Any]]) -> Read:
    messages, apart, problems = [], [], []
    for raw, data in elements:
        if category := non_im_category(data):
            apart.append(NonImMessage(category, storable(data.get("senderId"), 255), data.get("timestamp")))
        elif (message := read_message(raw, data)) is None:
            problems.append("no_message")
        elif (target := target_of(message)) is None:
            problems.append("no_conversation")
        else:
            messages.append((target, message))
    detail = f"{len(problems)} / {len(elements)}" if problems else ""
    return Read(messages, apart, problems[0] if problems else "", detail, len(problems), len(elements))


def non_im_category(data: Any) -> feed.Metric | None:
    """The category of a message that is not IM (customer service, PubSub); None for an IM message.

    In the vendor's SDK, messages of customer service have a team or types of their own; public receivers of PubSub
    read `channel`, `timestamp` and `content`. A message that names a group or a receiver is IM: its type is chosen by
    its writer, and must not keep it out of the archive.
    """
    if not isinstance(data, dict) or data.get("groupId") or (data.get("receiverId") and not data.get("teamId")):
        return None
    to = data.get("to")
    scenes = {data.get("scene"), to.get("type") if isinstance(to, dict) else None} & {"cs"}
    if data.get("teamId") or scenes or str(data.get("type")).startswith("CS_"):
        return feed.Metric.CUSTOMER_SERVICE
    is_channel = isinstance(data.get("channel"), str) and "content" in data
    return feed.Metric.PUBSUB if is_channel and not {"senderId", "messageId"} & data.keys() else None


def _elements(raw: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield text and value of each message in the JSON text `raw`, or of what is there instead. Raises ValueError."""
    raw = raw.strip()
    if depth < MAX_ENVELOPES and raw.startswith("["):
        for _name, part in json_parts(raw):
            yield from _elements(part, depth + 1)
        return
    value = json_value(raw)
    if depth < MAX_ENVELOPES and isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            yield from list(_elements(value, depth + 1))
        except ValueError:
            # A text that only looks like JSON; its neighbours may still be messages.
            yield raw, value
    elif depth < MAX_ENVELOPES and isinstance(value, dict) and "timestamp" not in value:
        inside = list(_enveloped(raw, depth))
        yield from inside or [(raw, value)]
    else:
        yield raw, value


def _enveloped(raw: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield the messages in the members of the JSON object `raw`."""
    for _name, part in json_parts(raw):
        if part.startswith(("[", "{", '"')):
            try:
                elements = list(_elements(part, depth + 1))
            except ValueError:
                # A text that only looks like JSON.
                continue
            yield from (element for element in elements if non_im_category(element[1]) or read_message(*element))


class IncomingDelivery:
    """A delivery to store, its messages, and the result of storing it."""

    def __init__(self, application: Application, content: bytes, form: str = "") -> None:
        self.delivery = WebhookDelivery(
            application=application,
            form=form,
            received_at=timezone.now(),
            content=content,
            sha256=hashlib.sha256(content).hexdigest(),
        )
        if len(content) > CHEAP_BYTES:
            self.read = Read()
            _put_off(self.delivery, "large")
        else:
            self.read = read_content(content)
            _settle(self.delivery, self.read)
        self.is_new = False
        self.error: BaseException | None = None
        self.is_done = False


class CommitQueue:
    """Group commit: threads that store deliveries of one application at the same time share a commit.

    A commit costs about the same for one delivery as for ten. While one thread commits, others queue their deliveries;
    the next thread stores them all.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: queue.SimpleQueue[IncomingDelivery] = queue.SimpleQueue()

    def store(self, incoming: IncomingDelivery) -> None:
        """Store `incoming`; return once this or another thread has done so."""
        self._pending.put(incoming)
        with self._lock:
            while not incoming.is_done:
                group = list(self._next_group())
                try:
                    store(group)
                except BaseException as error:
                    for each in group:
                        each.error = error
                    if not isinstance(error, Exception):
                        raise
                finally:
                    for each in group:
                        each.is_done = True

    def _next_group(self) -> Iterator[IncomingDelivery]:
        """Take deliveries off the queue, as many as can be stored while GoEasy waits."""
        size = 0
        while size < CHEAP_BYTES and not self._pending.empty():
            incoming = self._pending.get()
            size += len(incoming.delivery.content)
            yield incoming


_commit_queues: defaultdict[int, CommitQueue] = defaultdict(CommitQueue)


def accept(application: Application, content: bytes, form: str = "") -> bool:
    """Store a delivery with a verified signature; return whether it is new. When this returns, it is on disk.

    `form`: its encoding ("form", "json", "multipart"), if known. The same content is stored once: its messages are in
    the archive, or wait for the worker. Raises django.db.Error when it cannot be stored; then nothing is.
    """
    incoming = IncomingDelivery(application, content, form)
    _commit_queues[application.pk].store(incoming)
    if incoming.error:
        raise incoming.error
    if incoming.is_new:
        _count(
            application, Counter(each.category for each in incoming.read.apart), is_unread=bool(incoming.read.problem)
        )
    return incoming.is_new


def _count(application: Application, apart: Counter[feed.Metric], *, is_unread: bool) -> None:
    for category, number in apart.items():
        feed.count(application, category, number)
    if is_unread:
        feed.count(application, feed.Metric.UNREAD)


def store(incoming: Sequence[IncomingDelivery]) -> None:
    """Store deliveries of one application in one transaction; each by itself when that fails."""
    try:
        _ingest(incoming)
    except Exception as error:
        clear_caches()
        if len(incoming) == 1:
            _store_unread(incoming[0], error)
            return
        for each in incoming:
            try:
                store([each])
            except Exception as problem:
                each.error = problem


def _ingest(incoming: Sequence[IncomingDelivery]) -> None:
    """Write the deliveries and their messages, in the same order in every process, to avoid deadlocks."""
    application = incoming[0].delivery.application
    conversations = conversations_of(
        application, (target for each in incoming for target, _message in each.read.messages)
    )
    by_content = {each.delivery.sha256: each for each in reversed(incoming)}
    with writing():
        written = insert_deliveries([by_content[sha256].delivery for sha256 in sorted(by_content)])
        new = [by_content[sha256] for sha256 in by_content if sha256 in written]
        ingested = ingest_delivered(application, conversations, [pair for each in new for pair in each.read.messages])
        if ingested.erased:
            # The text was erased on request, so the delivery with a copy of it must not stay.
            again = [sha256 for sha256 in written if _holds(by_content[sha256].read, ingested.erased)]
            WebhookDelivery.objects.filter(application=application, sha256__in=again).delete()
    for each in new:
        each.is_new = True


def _holds(read: Read, places: Collection[tuple[int, int, str]]) -> bool:
    """Whether a message is at one of `places` (`ingest.place`)."""
    return any(place(message) in places for _target, message in read.messages)


def _store_unread(incoming: IncomingDelivery, error: Exception) -> None:
    """Store a delivery whose messages could not be written, for the worker to retry. Raises when that fails, too."""
    delivery = incoming.delivery
    if WebhookDelivery.objects.filter(application=delivery.application, sha256=delivery.sha256).exists():
        return
    incoming.read = Read()
    WebhookDelivery.objects.bulk_create([_put_off(delivery, "failed", error)], ignore_conflicts=True)
    incoming.is_new = True
    log.error("a delivery to %s waits: its messages were not kept", delivery.application.slug, exc_info=error)


def _settle(delivery: WebhookDelivery, read: Read) -> None:
    delivery.state, delivery.problem, delivery.detail = State.DONE, read.problem, read.detail
    delivery.retry_at = None
    if read.problem:
        delivery.state = State.UNREAD
    elif read.apart:
        # The IM messages of a mixed delivery are archived.
        delivery.state = State.DONE if read.messages else State.APART
        delivery.problem = "apart"
        numbers = Counter(each.category.value for each in read.apart)
        delivery.detail = ", ".join(f"{category}: {number}" for category, number in sorted(numbers.items()))


def _put_off(delivery: WebhookDelivery, problem: str, error: Exception | None = None) -> WebhookDelivery:
    """Set the delivery to wait, for a time that doubles with each try after an error; return it."""
    delivery.state, delivery.problem = State.WAITING, problem
    # An error's message may contain message text, so a page shows its class only. The log has the rest.
    delivery.detail = type(error).__name__ if error else ""
    delivery.retry_at = timezone.now() + timedelta(seconds=FIRST_WAIT * 2**delivery.tries if error else 0)
    return delivery


def process(delivery: WebhookDelivery) -> None:
    """Read a stored delivery into the archive and settle it, or defer it; after MAX_TRIES it waits for a person.

    A large delivery is written slice by slice. After a failure all slices are written again, which is idempotent.
    """
    was_waiting = delivery.state == State.WAITING
    delivery.tries += 1
    apart: Counter[feed.Metric] = Counter()
    try:
        is_erased = False
        total = Read()
        for read in read_slices(bytes(delivery.content)):
            conversations = conversations_of(delivery.application, (target for target, _message in read.messages))
            with writing():
                ingested = ingest_delivered(delivery.application, conversations, read.messages)
            is_erased = is_erased or bool(ingested.erased)
            total = _sum(total, read)
        apart = Counter(each.category for each in total.apart)
        _settle(delivery, total)
        with writing():
            if is_erased:
                delivery.delete()
            else:
                delivery.save(update_fields=["state", "problem", "detail", "retry_at", "tries"])
    except Exception as error:
        clear_caches()
        log.exception("delivery %s was not read into the archive", delivery.pk)
        _put_off(delivery, "failed", error)
        if delivery.tries >= MAX_TRIES:
            delivery.state, delivery.retry_at = State.UNREAD, None
        delivery.save(update_fields=["state", "problem", "detail", "retry_at", "tries"])
    if was_waiting and delivery.state != State.WAITING:
        _count(delivery.application, apart, is_unread=delivery.state == State.UNREAD)


def _sum(total: Read, read: Read) -> Read:
    """Add the result of a slice to the total, which keeps one message only, to show that there were any."""
    bad, number = total.bad + read.bad, total.total + read.total
    problem = total.problem or read.problem
    detail = f"{bad} / {number}" if bad else total.detail or read.detail
    return Read(total.messages or read.messages[:1], total.apart + read.apart, problem, detail, bad, number)


def leave_to_worker(delivery: WebhookDelivery) -> None:
    """Queue a stored delivery for a worker to read again."""
    WebhookDelivery.objects.filter(pk=delivery.pk).update(
        state=State.WAITING, problem="large", detail="", tries=0, retry_at=timezone.now()
    )


def process_due(most: int = 20) -> int:
    """Read at most `most` waiting deliveries; return how many. Several workers may run this concurrently."""
    done = 0
    # One by one, so that a single delivery's content is in memory at a time.
    for pk, retry_at, problem in list(WebhookDelivery.objects.due().values_list("pk", "retry_at", "problem")[:most]):
        lease = timezone.now() + (LEASE_OF_LARGE if problem == "large" else LEASE)
        if WebhookDelivery.objects.filter(pk=pk, retry_at=retry_at).update(retry_at=lease):
            process(WebhookDelivery.objects.select_related("application").get(pk=pk))
            done += 1
    return done


def prune() -> int:
    """Delete settled deliveries older than WEBHOOK_KEEP_DAYS, oldest first, a bounded number; return how many."""
    if not settings.WEBHOOK_KEEP_DAYS:
        return 0
    until = timezone.now() - timedelta(days=settings.WEBHOOK_KEEP_DAYS)
    gone = 0
    for application in Application.objects.all():
        settled = WebhookDelivery.objects.filter(application=application, state__in=(State.DONE, State.APART))
        old = settled.filter(received_at__lt=until)
        pks = list(old.order_by("received_at").values_list("pk", flat=True)[:MAX_PRUNED])
        gone += WebhookDelivery.objects.filter(pk__in=pks).delete()[0]
    return gone
