"""What the webhook delivers: kept before it is acknowledged, read at once when that is cheap, else by the worker.

A delivery is a JSON text: one message or an array of them. What else surrounds them is not public (goeasy-api.md,
"Webhook"), so that messages are looked for leniently, and what holds none stays as it came, for a person.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from moderation.archive import feed, rows
from moderation.archive.ingest import conversations_of, ingest_delivered, place, read_message, target_of
from moderation.archive.models import Application, Message, WebhookDelivery
from moderation.goeasy.answers import parts, value_of
from moderation.goeasy.client import Target

log = logging.getLogger(__name__)

State = WebhookDelivery.State
# What is larger waits for the worker: GoEasy waits 3 seconds for an answer, and others wait meanwhile. Nor do
# deliveries of more share a commit.
CHEAP_BYTES = 128 * 1024
# Envelopes in envelopes: no further in.
MOST_ENVELOPES = 4
# What fails in the worker is tried again after this (seconds), then twice as long, and so on.
FIRST_WAIT = 10.0
MOST_TRIES = 6
# So many are deleted in one go.
MOST_PRUNED = 10_000

PROBLEMS: dict[str, str | Promise] = {
    "large": _("It is large: the worker reads it."),
    "failed": _("It could not be put into the archive."),
    "not_utf8": _("It is not text in UTF-8."),
    "not_json": _("It is not JSON."),
    "no_message": _("It holds what is no message: an object with a timestamp in milliseconds."),
    "no_conversation": _(
        "It holds a message that names no conversation: neither a groupId, nor a senderId and a receiverId."
    ),
}


@dataclass(frozen=True)
class Read:
    """The messages of a delivery, each with its conversation; and what was wrong (of PROBLEMS) with the rest."""

    messages: list[tuple[Target, Message]]
    problem: str = ""
    detail: str = ""


def read_content(content: bytes) -> Read:
    """What a delivery's content holds. Raises nothing."""
    try:
        elements = list(_elements(content.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        return Read([], "not_utf8", str(error)[:500])
    except ValueError as error:
        return Read([], "not_json", str(error)[:500])
    messages, problems = [], []
    for element in elements:
        if (message := read_message(*element)) is None:
            problems.append("no_message")
        elif (target := target_of(message)) is None:
            problems.append("no_conversation")
        else:
            messages.append((target, message))
    if not problems:
        return Read(messages)
    return Read(messages, problems[0], f"{len(problems)} / {len(elements)}")


def _elements(raw: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The messages in the JSON text `raw`, or what stands in their place: exact texts and values. Raises ValueError."""
    raw = raw.strip()
    if depth < MOST_ENVELOPES and raw.startswith("["):
        for _name, part in parts(raw):
            yield from _elements(part, depth + 1)
        return
    value = value_of(raw)
    if depth < MOST_ENVELOPES and isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        yield from _elements(value, depth + 1)
    elif depth < MOST_ENVELOPES and isinstance(value, dict) and "timestamp" not in value:
        inside = list(_enveloped(raw, depth))
        yield from inside or [(raw, value)]
    else:
        yield raw, value


def _enveloped(raw: str, depth: int) -> Iterator[tuple[str, Any]]:
    """The messages in the members of the object `raw`."""
    for _name, part in parts(raw):
        if part.startswith(("[", "{", '"')):
            try:
                found = list(_elements(part, depth + 1))
            except ValueError:
                # A text that begins as JSON does and is none.
                continue
            yield from (element for element in found if read_message(*element))


class Given:
    """A delivery to keep, what was read in it, and what came of it."""

    def __init__(self, application: Application, content: bytes) -> None:
        self.delivery = WebhookDelivery(
            application=application,
            received_at=timezone.now(),
            content=content,
            sha256=hashlib.sha256(content).hexdigest(),
        )
        if len(content) > CHEAP_BYTES:
            self.read = Read([])
            _put_off(self.delivery, "large")
        else:
            self.read = read_content(content)
            _settle(self.delivery, self.read)
        self.is_new = False
        self.error: BaseException | None = None
        self.is_done = False


class Turn:
    """The threads of a process that keep deliveries of one application: those that come together share a commit.

    A commit costs much the same for one delivery as for ten. While a thread is at it, others leave theirs; the next one
    keeps them all.
    """

    def __init__(self) -> None:
        self._mine = threading.Lock()
        self._left: queue.SimpleQueue[Given] = queue.SimpleQueue()

    def keep(self, given: Given) -> None:
        """Return once `given` is done, by this thread or by another."""
        self._left.put(given)
        with self._mine:
            while not given.is_done:
                some = list(self._taken())
                try:
                    keep(some)
                except BaseException as error:
                    for each in some:
                        each.error = error
                    if not isinstance(error, Exception):
                        raise
                finally:
                    for each in some:
                        each.is_done = True

    def _taken(self) -> Iterator[Given]:
        """What lies there; no more than can be read while GoEasy waits."""
        size = 0
        while size < CHEAP_BYTES and not self._left.empty():
            given = self._left.get()
            size += len(given.delivery.content)
            yield given


_turns: defaultdict[int, Turn] = defaultdict(Turn)


def accept(application: Application, content: bytes) -> bool:
    """Keep a delivery whose signature was checked; return whether it is new. Once this returns, it is on disk.

    The same content is kept once: what it told is in the archive, or waits to be. Raises django.db.Error when it
    cannot be kept; then nothing is.
    """
    given = Given(application, content)
    _turns[application.pk].keep(given)
    if given.error:
        raise given.error
    if given.is_new and given.read.problem:
        feed.count(application, feed.What.UNREAD)
    return given.is_new


def keep(given: Sequence[Given]) -> None:
    """Keep deliveries of one application in one transaction; each by itself when that fails."""
    try:
        _ingest(given)
    except Exception as error:
        rows.forget_known()
        if len(given) == 1:
            _keep_unread(given[0], error)
            return
        for each in given:
            try:
                keep([each])
            except Exception as problem:
                each.error = problem


def _ingest(given: Sequence[Given]) -> None:
    """Write the deliveries and their messages. Others do so at the same time: in one order everywhere."""
    application = given[0].delivery.application
    conversations = conversations_of(application, (target for each in given for target, _message in each.read.messages))
    by_content = {each.delivery.sha256: each for each in reversed(given)}
    with rows.writing():
        written = rows.insert_deliveries([by_content[sha256].delivery for sha256 in sorted(by_content)])
        new = [by_content[sha256] for sha256 in by_content if sha256 in written]
        told = ingest_delivered(application, conversations, [pair for each in new for pair in each.read.messages])
        if told.erased:
            # The text was erased on request, and a copy of it is not kept either.
            again = [sha256 for sha256 in written if _holds(by_content[sha256].read, told.erased)]
            WebhookDelivery.objects.filter(application=application, sha256__in=again).delete()
    for each in new:
        each.is_new = True


def _holds(read: Read, places: Collection[tuple[int, int, str]]) -> bool:
    """Whether one of the messages is at one of `places` (`ingest.place`)."""
    return any(place(message) in places for _target, message in read.messages)


def _keep_unread(given: Given, error: Exception) -> None:
    """Keep a delivery by itself: its messages cannot be kept, or nothing can, which raises."""
    delivery = given.delivery
    if WebhookDelivery.objects.filter(application=delivery.application, sha256=delivery.sha256).exists():
        return
    given.read = Read([])
    WebhookDelivery.objects.bulk_create([_put_off(delivery, "failed", error)], ignore_conflicts=True)
    given.is_new = True
    log.error("a delivery to %s waits: its messages were not kept", delivery.application.slug, exc_info=error)


def _settle(delivery: WebhookDelivery, read: Read) -> None:
    delivery.state = State.UNREAD if read.problem else State.DONE
    delivery.problem, delivery.detail, delivery.retry_at = read.problem, read.detail, None


def _put_off(delivery: WebhookDelivery, problem: str, error: Exception | None = None) -> WebhookDelivery:
    """The delivery, put off for a time that doubles with each try."""
    delivery.state, delivery.problem = State.WAITING, problem
    # What an error says may hold anything; its kind is enough for a page. The log has the rest.
    delivery.detail = type(error).__name__ if error else ""
    delivery.retry_at = timezone.now() + timedelta(seconds=FIRST_WAIT * 2**delivery.tries if error else 0)
    return delivery


def process(delivery: WebhookDelivery) -> None:
    """Read a kept delivery into the archive and settle it, or put it off; after MOST_TRIES it waits for a person."""
    read = read_content(bytes(delivery.content))
    was_unread = delivery.state == State.UNREAD
    delivery.tries += 1
    try:
        conversations = conversations_of(delivery.application, (target for target, _message in read.messages))
        with rows.writing():
            told = ingest_delivered(delivery.application, conversations, read.messages)
            _settle(delivery, read)
            if told.erased:
                delivery.delete()
            else:
                delivery.save(update_fields=["state", "problem", "detail", "retry_at", "tries"])
    except Exception as error:
        rows.forget_known()
        log.exception("delivery %s was not read into the archive", delivery.pk)
        _put_off(delivery, "failed", error)
        if delivery.tries >= MOST_TRIES:
            delivery.state, delivery.retry_at = State.UNREAD, None
        delivery.save(update_fields=["state", "problem", "detail", "retry_at", "tries"])
    if delivery.state == State.UNREAD and not was_unread:
        feed.count(delivery.application, feed.What.UNREAD)


def process_due(most: int = 20) -> int:
    """Read what waits, at most `most` deliveries; return how many. Any number of workers may do so at once."""
    done = 0
    for delivery in WebhookDelivery.objects.due().select_related("application")[:most]:
        lease = timezone.now() + timedelta(minutes=1)
        if WebhookDelivery.objects.filter(pk=delivery.pk, retry_at=delivery.retry_at).update(retry_at=lease):
            process(delivery)
            done += 1
    return done


def prune() -> int:
    """Delete what has been in the archive for WEBHOOK_KEEP_DAYS, oldest first, a bounded number; return how many."""
    if not settings.WEBHOOK_KEEP_DAYS:
        return 0
    until = timezone.now() - timedelta(days=settings.WEBHOOK_KEEP_DAYS)
    gone = 0
    for application in Application.objects.all():
        old = WebhookDelivery.objects.filter(application=application, received_at__lt=until, state=State.DONE)
        pks = list(old.order_by("received_at").values_list("pk", flat=True)[:MOST_PRUNED])
        gone += WebhookDelivery.objects.filter(pk__in=pks).delete()[0]
    return gone
