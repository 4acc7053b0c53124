"""Requesting recalls: the preview of what a recall would take back, and the request itself.

Browser, admin and command line all use `request_recall()`. The outbox sends the calls; `recall.decisions` holds what
people decide afterwards.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from moderation.accounts.models import Pseudonym, User
from moderation.applications.models import Application
from moderation.archive.ingest import sha256
from moderation.archive.models import Conversation, Message, Sender
from moderation.archive.names import name_in, titled
from moderation.archive.rows import in_parts
from moderation.audit.services import record_all
from moderation.goeasy.client import MAX_TIMESTAMPS_PER_CALL, Group, Private, Recaller, prepare_recall
from moderation.ingestion.backfill import look_up
from moderation.outbox import tasks
from moderation.outbox.models import Call
from moderation.reviewed import Seen
from recall import reviews
from recall.effect import RecallEffect
from recall.events import RecallRequested
from recall.models import (
    Evidence,
    Recall,
    RecallBatch,
    RecallItem,
    RecallReason,
    Sweep,
)


class NotPossible(Exception):
    """The request does not fit the recall's state; `message` explains that to the person."""

    def __init__(self, message: str | Promise) -> None:
        super().__init__(str(message))
        self.message = message


def plan(timestamps: Sequence[int]) -> list[tuple[int, ...]]:
    """The calls that recall `timestamps` (ms): ascending, at most 20 each (docs/goeasy-api.md, "Recall")."""
    ordered = sorted(set(timestamps))
    return [
        tuple(ordered[start : start + MAX_TIMESTAMPS_PER_CALL])
        for start in range(0, len(ordered), MAX_TIMESTAMPS_PER_CALL)
    ]


def recaller_for(user: User, application: Application) -> Recaller | None:
    """The recaller that clients see: the moderator's pseudonym in the application, else the application's own."""
    source = Pseudonym.objects.filter(user=user, application=application).first() or application
    if source.recaller_id or source.recaller_data:
        return Recaller(source.recaller_id, source.recaller_data)
    return None


def grace_of(user: User) -> float:
    """Seconds in which a recall by `user` can be cancelled before anything is sent: the setting's, or longer."""
    return max(float(settings.RECALL_GRACE_SECONDS), user.grace_seconds)


def is_overridden(recaller: Recaller | None, user: User, application: Application) -> bool:
    """Whether `recaller` differs from the usual recaller of `user` in the application."""
    usual = recaller_for(user, application)
    return (recaller.as_field() if recaller else None) != (usual.as_field() if usual else None)


def archived(conversation: Conversation, timestamps: Sequence[int]) -> list[Message]:
    """The archive's messages at `timestamps` (ms), oldest first."""
    messages: list[Message] = []
    for some in in_parts(timestamps):
        messages += Message.objects.filter(conversation=conversation, timestamp__in=some)
    return sorted(messages, key=lambda message: (message.timestamp, message.pk))


@dataclass(frozen=True)
class Preview:
    """What a recall would do: its calls and their bodies (key masked), and what the archive knows of it.

    `shared`: timestamps that name more than one message; all of them go. `recalled`: messages that are recalled
    already. `unknown`: timestamps at which the archive has nothing, so that no evidence can be kept. `earlier`: those
    that other recalls name.
    """

    calls: list[tuple[int, ...]]
    bodies: list[dict[str, object]]
    known: list[Message]
    unknown: tuple[int, ...]
    shared: dict[int, list[Message]]
    recalled: list[Message]
    earlier: list[RecallItem]


def preview(*, conversation: Conversation, timestamps: Sequence[int], recaller: Recaller | None) -> Preview:
    """Preview of recalling `timestamps` (ms). Reads only the archive; makes no request to GoEasy."""
    known = archived(conversation, timestamps)
    by_time: dict[int, list[Message]] = defaultdict(list)
    for message in known:
        by_time[message.timestamp].append(message)
    calls = plan(timestamps)
    return Preview(
        calls=calls,
        bodies=[call_body(conversation.application, conversation.target, call, recaller) for call in calls],
        known=known,
        unknown=tuple(timestamp for timestamp in timestamps if timestamp not in by_time),
        shared={timestamp: messages for timestamp, messages in by_time.items() if len(messages) > 1},
        recalled=[message for message in known if message.recalled],
        earlier=reviews.earlier_items(conversation, timestamps),
    )


def call_body(
    application: Application, target: Private | Group, timestamps: Sequence[int], recaller: Recaller | None
) -> dict[str, object]:
    """The body of one call, with its key masked."""
    return prepare_recall(target=target, timestamps=timestamps, recaller=recaller).shown(application.appkey())


def request_recall(
    *,
    conversation: Conversation,
    actor: User,
    reason: RecallReason,
    note: str,
    timestamps: Sequence[int],
    recaller: Recaller | None,
    submission: UUID,
    grace_seconds: float,
    seen: Seen | None = None,
) -> Recall:
    """Request that `timestamps` (ms) of `conversation` be taken back, and return the recall.

    Evidence first: what the archive lacks is looked up in history, then the raw messages are kept with the
    recall. The same `submission` a second time returns the recall that it made the first time. Sending starts
    by itself after `grace_seconds`. `seen`: what the review showed; None when nobody reviewed it (a command). Raises
    NotPossible when `submission` made a recall of something else, and Changed when the review would show something
    else now: of two who confirm the same messages at once, one gets the recall.
    """
    request = (actor.pk, conversation.pk, set(timestamps), reason.pk, note, recaller)
    if (earlier := Recall.objects.filter(submission=submission).first()) is not None:
        return _earlier_if_same(earlier, request)
    look_up(conversation, timestamps)
    draft = Draft(conversation, tuple(sorted(set(timestamps))))
    try:
        with transaction.atomic():
            # Decisions of one application run one after the other, so that the second sees the first.
            Application.objects.select_for_update(no_key=True).get(pk=conversation.application_id)
            if (earlier := Recall.objects.filter(submission=submission).first()) is not None:
                return _earlier_if_same(earlier, request)
            if seen:
                reviews.check_recall(
                    seen,
                    conversation,
                    timestamps,
                    archived(conversation, timestamps),
                    reason=reason,
                    note=note,
                    recaller=recaller,
                    is_overridden=is_overridden(recaller, actor, conversation.application),
                )
            (recall,) = create_recalls(
                [draft],
                actor=actor,
                reason=reason,
                note=note,
                recaller=recaller,
                submission=submission,
                not_before=timezone.now() + timedelta(seconds=grace_seconds),
                seen=seen,
            )
            tasks.wake(recall.application, recall.not_before)
    except IntegrityError:
        # The same form was submitted twice at once, and the other request committed first.
        if (earlier := Recall.objects.filter(submission=submission).first()) is None:
            raise
        return _earlier_if_same(earlier, request)
    return recall


@dataclass(frozen=True)
class Draft:
    """The content of one recall to create: distinct timestamps (ms), ascending, of one conversation."""

    conversation: Conversation
    timestamps: tuple[int, ...]


def create_recalls(
    drafts: Sequence[Draft],
    *,
    actor: User,
    reason: RecallReason,
    note: str,
    recaller: Recaller | None,
    not_before: datetime,
    submission: UUID | None = None,
    sweep: Sweep | None = None,
    seen: Seen | None = None,
) -> list[Recall]:
    """Write a recall for each of `drafts`, with its batches, items, evidence and audit entry; inside a transaction."""
    for some in in_parts(drafts):
        titled(draft.conversation for draft in some)
    recalls = Recall.objects.bulk_create(
        Recall(
            conversation=draft.conversation,
            conversation_title=draft.conversation.title,  # type: ignore[attr-defined]
            application=draft.conversation.application,
            actor=actor,
            sent_for=actor.get_username(),
            reason=reason,
            note=note,
            recaller_id=recaller.id if recaller else "",
            recaller_data=(recaller.data or None) if recaller else None,
            sweep=sweep,
            not_before=not_before,
            **({"submission": submission} if submission else {}),
        )
        for draft in drafts
    )
    applications = {recall.application_id: recall.application for recall in recalls}
    overridden = {pk for pk, application in applications.items() if is_overridden(recaller, actor, application)}
    calls = [plan(draft.timestamps) for draft in drafts]
    _split(list(zip(recalls, calls, strict=True)))
    senders = senders_of({recall.pk: draft.timestamps for recall, draft in zip(recalls, drafts, strict=True)})
    record_all(
        [
            RecallRequested(
                actor=actor.get_username(),
                **recall.for_audit(),
                timestamps=draft.timestamps,
                reason=reason.code,
                recaller=recaller.as_field() if recaller else None,
                recaller_overridden=recall.application_id in overridden,
                calls=len(planned),
                sweep=sweep.pk if sweep else None,
                # A digest of the review, where there was one.
                reviewed=seen.digest if seen else None,
                note=note,
                senders=senders[recall.pk],
            )
            for recall, draft, planned in zip(recalls, drafts, calls, strict=True)
        ]
    )
    return recalls


def _earlier_if_same(earlier: Recall, request: tuple[object, ...]) -> Recall:
    """Return `earlier` if it is the same request; raise NotPossible otherwise.

    A form that the browser restored may have been changed and submitted again: returning the earlier recall would
    silently drop the change.
    """
    timestamps = set(earlier.items.values_list("timestamp", flat=True))
    made = (earlier.actor_id, earlier.conversation_id, timestamps, earlier.reason_id, earlier.note, earlier.recaller)
    if made != request:
        raise NotPossible(_("This form was used for another recall already. Nothing new was sent."))
    return earlier


def _split(planned: Sequence[tuple[Recall, list[tuple[int, ...]]]]) -> None:
    """Write the calls, batches, items and evidence of recalls, given the timestamps of the calls of each."""
    in_order = [(recall, index, call) for recall, calls in planned for index, call in enumerate(calls)]
    calls = Call.objects.bulk_create(
        Call.of(
            prepare_recall(target=recall.conversation.target, timestamps=timestamps, recaller=recall.recaller),
            application=recall.application,
            effect=RecallEffect.name,
            position=index,
            not_before=recall.not_before,
        )
        for recall, index, timestamps in in_order
    )
    batches = RecallBatch.objects.bulk_create(
        RecallBatch(call=call, recall=recall, index=index, size=len(timestamps))
        for call, (recall, index, timestamps) in zip(calls, in_order, strict=True)
    )
    items = RecallItem.objects.bulk_create(
        RecallItem(recall=batch.recall, batch=batch, position=position, timestamp=timestamp)
        for batch, (_recall, _index, timestamps) in zip(batches, in_order, strict=True)
        for position, timestamp in enumerate(timestamps)
    )
    item_at = {(item.recall_id, item.timestamp): item for item in items}
    recall_of = {recall.conversation_id: recall for recall, _calls in planned}
    evidence = [
        (item, message)
        for message in _archived_at([(item.recall.conversation_id, item.timestamp) for item in items])
        if (recall := recall_of.get(message.conversation_id)) and (item := item_at.get((recall.pk, message.timestamp)))
    ]
    names = {
        (application_id, user_id): name
        for application_id, user_id, name in Sender.objects.filter(
            application__in={recall.application_id for recall, _calls in planned},
            user_id__in={message.sender_id for _item, message in evidence},
        ).values_list("application_id", "user_id", "name")
    }
    Evidence.objects.bulk_create(
        Evidence(
            item=item,
            message_id=message.message_id,
            sender_id=message.sender_id,
            # The name in the message itself: the sender may have another name by now.
            sender_name=name_in(message) or names.get((item.recall.application_id, message.sender_id), ""),
            type=message.type,
            raw=message.raw,
            sha256=message.sha256,
            salt=(salt := "" if message.is_erased else secrets.token_hex(32)),
            commitment=salt and sha256(salt + message.raw),
        )
        for item, message in evidence
    )


def senders_of(timestamps: Mapping[UUID, Collection[int]]) -> dict[UUID, list[str]]:
    """Who sent the messages at these times (ms) of each recall, as far as its evidence tells."""
    senders: dict[UUID, set[str]] = {recall: set() for recall in timestamps}
    wanted = {recall: set(times) for recall, times in timestamps.items()}
    for some in in_parts(list(timestamps)):
        kept = Evidence.objects.filter(item__recall__in=some)
        for recall, timestamp, sender in kept.values_list("item__recall_id", "item__timestamp", "sender_id"):
            if timestamp in wanted[recall]:
                senders[recall].add(sender)
    return {recall: sorted(ids) for recall, ids in senders.items()}


def _archived_at(places: list[tuple[int, int]]) -> Iterator[Message]:
    """The archive's messages at `places` (conversation, ms), and those of other conversations at the same times."""
    for timestamps in in_parts(sorted({timestamp for _conversation, timestamp in places})):
        # Filter by time alone: few messages share a millisecond, and with both columns a database may look up every
        # combination.
        yield from Message.objects.filter(timestamp__in=timestamps).order_by("timestamp", "pk")
