"""Deciding on recalls: what would go, asking for one, calling it off, sending again what did not go.

The one pipeline: browser, admin and command line all come through `request_recall()`. What sends is the outbox.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from moderation.accounts.models import Pseudonym, User
from moderation.applications.models import Application
from moderation.archive.ingest import sha256
from moderation.archive.models import Conversation, Message, Sender
from moderation.archive.names import name_in, titled
from moderation.archive.rows import in_parts
from moderation.audit.services import record, record_all
from moderation.goeasy.client import MAX_TIMESTAMPS_PER_CALL, Group, Private, Recaller, prepare_recall
from moderation.ingestion.backfill import look_up
from moderation.outbox import tasks
from moderation.outbox.models import Call, Circuit
from moderation.reviewed import Seen
from recall import reviews
from recall.decisions import MAY_BE_SENT_AGAIN, RETRIED_FROM, check, to_call_off, to_send_again, to_settle
from recall.effect import RecallEffect
from recall.events import RecallCancelled, RecallRequested, RecallSettled
from recall.lifecycle import finish_done
from recall.models import (
    LOOKED_FOR,
    MAX_NOTE_LENGTH,
    NEEDS_A_PERSON,
    Evidence,
    Recall,
    RecallBatch,
    RecallItem,
    RecallReason,
    Sweep,
)


class NotPossible(Exception):
    """What was asked does not fit the recall's state; `sentence` says so to the person who asked."""

    def __init__(self, sentence: str | Promise) -> None:
        super().__init__(str(sentence))
        self.message = sentence


def plan(timestamps: Sequence[int]) -> list[tuple[int, ...]]:
    """The calls that recall `timestamps` (ms): ascending, at most 20 each (docs/goeasy-api.md, "Recall")."""
    ordered = sorted(set(timestamps))
    return [
        tuple(ordered[start : start + MAX_TIMESTAMPS_PER_CALL])
        for start in range(0, len(ordered), MAX_TIMESTAMPS_PER_CALL)
    ]


def recaller_for(user: User, application: Application) -> Recaller | None:
    """The recaller that clients will see: the moderator's pseudonym there, else the application's; never the user."""
    source = Pseudonym.objects.filter(user=user, application=application).first() or application
    if source.recaller_id or source.recaller_data:
        return Recaller(source.recaller_id, source.recaller_data)
    return None


def is_overridden(recaller: Recaller | None, user: User, application: Application) -> bool:
    """Whether `recaller` is not what app users are shown of `user` there as a rule."""
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
    """What recalling `timestamps` (ms) would send and take back. Reads only; asks GoEasy nothing."""
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
    """The body of one call as it may be shown: its key masked."""
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
    """Ask for `timestamps` (ms) of `conversation` to be taken back, and return the recall.

    Evidence first: what the archive lacks is looked up in history, then the raw messages are kept with the
    recall. The same `submission` a second time returns the recall that it made the first time. Sending starts
    by itself after `grace_seconds`. `seen`: what the review showed; None when nobody reviewed it (a command). Raises
    NotPossible when `submission` made a recall of something else, and Changed when the review would show something
    else now: of two who confirm the same messages at once, one gets the recall.
    """
    asked = (actor.pk, conversation.pk, set(timestamps), reason.pk, note, recaller)
    if (earlier := Recall.objects.filter(submission=submission).first()) is not None:
        return _the_same(earlier, asked)
    look_up(conversation, timestamps)
    asked_for = Draft(conversation, tuple(sorted(set(timestamps))))
    try:
        with transaction.atomic():
            # One decision of an application at a time: the second looks at what the first one did.
            Application.objects.select_for_update(no_key=True).get(pk=conversation.application_id)
            if (earlier := Recall.objects.filter(submission=submission).first()) is not None:
                return _the_same(earlier, asked)
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
                [asked_for],
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
        # The same form came in twice at once, and the other one was first.
        if (earlier := Recall.objects.filter(submission=submission).first()) is None:
            raise
        return _the_same(earlier, asked)
    return recall


@dataclass(frozen=True)
class Draft:
    """What one recall is to take back: distinct timestamps (ms), ascending, of one conversation."""

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
                # What was decided on, where a review showed it: a digest of that.
                reviewed=seen.digest if seen else None,
                note=note,
            )
            for recall, draft, planned in zip(recalls, drafts, calls, strict=True)
        ]
    )
    return recalls


def _the_same(earlier: Recall, asked: tuple[object, ...]) -> Recall:
    """`earlier`, if that is what is asked for again. Otherwise a form that a browser brought back was changed and
    sent once more: answering with the earlier recall would leave the change undone without a word.
    """
    timestamps = set(earlier.items.values_list("timestamp", flat=True))
    made = (earlier.actor_id, earlier.conversation_id, timestamps, earlier.reason_id, earlier.note, earlier.recaller)
    if made != asked:
        raise NotPossible(_("This form has made another recall already. Nothing new was sent."))
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
    found = [
        (item, message)
        for message in _archived_at([(item.recall.conversation_id, item.timestamp) for item in items])
        if (recall := recall_of.get(message.conversation_id)) and (item := item_at.get((recall.pk, message.timestamp)))
    ]
    names = {
        (application_id, user_id): name
        for application_id, user_id, name in Sender.objects.filter(
            application__in={recall.application_id for recall, _calls in planned},
            user_id__in={message.sender_id for _item, message in found},
        ).values_list("application_id", "user_id", "name")
    }
    Evidence.objects.bulk_create(
        Evidence(
            item=item,
            message_id=message.message_id,
            sender_id=message.sender_id,
            # As the message has it: what its sender is called now may be another name.
            sender_name=name_in(message) or names.get((item.recall.application_id, message.sender_id), ""),
            type=message.type,
            raw=message.raw,
            sha256=message.sha256,
            salt=(salt := "" if message.is_erased else secrets.token_hex(32)),
            commitment=salt and sha256(salt + message.raw),
        )
        for item, message in found
    )


def _archived_at(places: list[tuple[int, int]]) -> Iterator[Message]:
    """The archive's messages at `places` (conversation, ms), and others at the same times."""
    for timestamps in in_parts(sorted({timestamp for _conversation, timestamp in places})):
        # By time alone: few messages share a millisecond, and with the conversation in question as well a database
        # may look up every pair of the two.
        yield from Message.objects.filter(timestamp__in=timestamps).order_by("timestamp", "pk")


def cancel_recall(recall: Recall, actor: User, seen: Seen | None = None) -> int:
    """Call off whatever has not left; returns how many timestamps that was.

    `seen`: what the person was shown. Raises NotPossible when none is left, and Changed.
    """
    this = Recall.objects.filter(pk=recall.pk)
    with transaction.atomic():
        recalls = locked(this)
        if not recall.batches.filter(state=RecallBatch.State.PENDING).exists():
            raise nothing_to_call_off(recall.batches.all())
        check(seen, to_call_off(this))
        return call_off(recalls, actor)


def nothing_to_call_off(batches: QuerySet[RecallBatch]) -> NotPossible:
    """Why nothing of `batches` can be called off any more."""
    if batches.filter(state=RecallBatch.State.CANCELLED).exists():
        return NotPossible(_("It was called off already: there is nothing left to call off."))
    if batches.filter(recall__stop_reason=Recall.StopReason.RESTORED).exists():
        return NotPossible(_("Nothing is sent by itself after a restore: there is nothing left to call off."))
    return NotPossible(_("Everything has been sent already: there is nothing left to call off."))


def locked(recalls: QuerySet[Recall]) -> list[Recall]:
    """`recalls` as they stand, nobody else changing them before this transaction ends."""
    recalls = recalls.select_for_update(of=("self",)).order_by("pk")
    return list(recalls.select_related("conversation", "application"))


def call_off(recalls: list[Recall], actor: User) -> int:
    """Call off whatever has not left of `recalls`, which are `locked()`; returns how many timestamps that was."""
    states = Recall.State
    count = 0
    for some in in_parts(recalls):
        batches = RecallBatch.objects.filter(recall__in=some)
        unsent = batches.filter(state=RecallBatch.State.PENDING)
        lock_calls(unsent)
        indexes = _by_recall(unsent.order_by("index").values_list("recall_id", "index"))
        timestamps = _timestamps(some, Q(batch__state=RecallBatch.State.PENDING))
        Call.objects.filter(recall_batch__in=unsent).cancel()
        unsent.update(state=RecallBatch.State.CANCELLED)
        under_way = set(batches.filter(state=RecallBatch.State.SENDING).values_list("recall_id", flat=True))
        something_left = set(batches.exclude(state=RecallBatch.State.CANCELLED).values_list("recall_id", flat=True))
        touched = [recall for recall in some if recall.pk in indexes]
        for recall in touched:
            if recall.pk not in under_way:
                recall.state = states.FINISHED if recall.pk in something_left else states.CANCELLED
                recall.stop_reason = ""
                recall.finished_at = timezone.now()
        Recall.objects.bulk_update(touched, ["state", "stop_reason", "finished_at"])
        record_all(
            [
                RecallCancelled(
                    actor=actor.get_username(),
                    **recall.for_audit(),
                    timestamps=timestamps[recall.pk],
                    batches=indexes[recall.pk],
                )
                for recall in touched
            ]
        )
        count += sum(len(timestamps[recall.pk]) for recall in touched)
    return count


def lock_calls(batches: QuerySet[RecallBatch]) -> None:
    """Let nobody send the calls of `batches`, or record an answer to them, before this transaction ends."""
    list(Call.objects.select_for_update(of=("self",)).filter(recall_batch__in=batches).values_list("pk"))


def can_retry(recall: Recall) -> bool:
    """Whether something was refused, never left, or is still visible, and may be sent again."""
    return recall.state in RETRIED_FROM and recall.batches.filter(MAY_BE_SENT_AGAIN).exists()


def retry_recall(recall: Recall, actor: User, seen: Seen | None = None) -> int:
    """Send again what was refused, never left, or is still visible; returns how many calls that will be.

    Each call is a new attempt; the earlier ones stay. `seen`: what the person was shown. Raises NotPossible, Changed.
    """
    this = Recall.objects.filter(pk=recall.pk)
    with transaction.atomic():
        recalls = locked(this)
        if recalls[0].state not in RETRIED_FROM:
            raise NotPossible(_("This recall is still under way."))
        if not recall.batches.filter(MAY_BE_SENT_AGAIN).exists():
            raise NotPossible(_("Nothing of this recall was refused, left unsent or is still visible."))
        check(seen, to_send_again(this))
        return resend(recalls, MAY_BE_SENT_AGAIN, actor)


def settle_unknown(recall: Recall, actor: User, *, send_again: bool, note: str, seen: Seen | None = None) -> int:
    """A person's decision on the calls of which nobody knows what became of them; returns how many those are.

    `send_again`: they become new attempts; otherwise they are left as they are and need nobody any more. `note`
    says why (1 to 2,000 characters). History is read first: calls for which that was not tried yet are not among
    them. `seen`: what the person was shown. Raises NotPossible, Changed.
    """
    if not note.strip():
        raise NotPossible(_("Write a note: why do you decide so?"))
    if len(note) > MAX_NOTE_LENGTH:
        raise NotPossible(_("The note is longer than %(most)d characters.") % {"most": MAX_NOTE_LENGTH})
    with transaction.atomic():
        (recall,) = locked(Recall.objects.filter(pk=recall.pk))
        if recall.state not in RETRIED_FROM:
            raise NotPossible(_("This recall is still under way."))
        undecided = recall.batches.filter(NEEDS_A_PERSON)
        lock_calls(undecided)
        indexes = list(undecided.filter(LOOKED_FOR).values_list("index", flat=True))
        if not indexes and undecided.exists():
            raise NotPossible(_("History is still to be read for what became of the messages. Decide after that."))
        if not indexes:
            raise NotPossible(_("Nothing of this recall needs a decision any more."))
        check(seen, to_settle(recall))
        recall.batches.filter(index__in=indexes).update(
            settlement=RecallBatch.Settlement.DECIDED,
            settled_by=actor.get_username(),
            settlement_note=note,
            check_at=None,
        )
        timestamps = _timestamps([recall], Q(batch__index__in=indexes))[recall.pk]
        record(
            RecallSettled(
                actor=actor.get_username(),
                **recall.for_audit(),
                timestamps=timestamps,
                batches=indexes,
                send_again=send_again,
                note=note,
            )
        )
        if send_again:
            resend([recall], Q(index__in=indexes), actor, note=note)
        finish_done([recall.pk])
    return len(indexes)


def resend(recalls: list[Recall], which: Q, actor: User, *, note: str = "") -> int:
    """Let the batches `which` is true of, of `recalls` that are `locked()`, be sent as if for the first time.

    For `actor`; returns how many batches those are.
    """
    count = 0
    for some in in_parts(recalls):
        batches = RecallBatch.objects.filter(which, recall__in=some)
        # Locked: an answer that comes late must not be put away unseen.
        lock_calls(batches)
        keys = list(batches.order_by("index").values_list("pk", "recall_id", "index"))
        indexes = _by_recall((recall_id, index) for _pk, recall_id, index in keys)
        timestamps: dict[UUID, list[int]] = defaultdict(list)
        for part in in_parts([pk for pk, _recall_id, _index in keys]):
            # Batches in order, and their timestamps in order: both ascend.
            items = RecallItem.objects.filter(batch__in=part)
            in_order = items.order_by("batch__index", "position").values_list("recall_id", "timestamp")
            for recall_id, timestamp in in_order:
                timestamps[recall_id].append(timestamp)
            items.update(verification="", verified_at=None)
            Call.objects.filter(pk__in=part).release()
            RecallBatch.objects.filter(pk__in=part).update(
                state=RecallBatch.State.PENDING,
                check_at=None,
                checks=0,
                settlement="",
                settled_by="",
                settlement_note="",
            )
        touched = [recall for recall in some if recall.pk in indexes]
        Recall.objects.filter(pk__in=[recall.pk for recall in touched]).update(
            state=Recall.State.SENDING,
            stop_reason="",
            finished_at=None,
            not_before=timezone.now(),
            sent_for=actor.get_username(),
        )
        record_all(
            [
                RecallRequested(
                    actor=actor.get_username(),
                    **recall.for_audit(),
                    timestamps=timestamps[recall.pk],
                    again=True,
                    batches=indexes[recall.pk],
                    note=note,
                )
                for recall in touched
            ]
        )
        count += len(keys)
    if count:
        # A person says that it may go: GoEasy is tried at once. One task is enough: it sends all that is due.
        Circuit.objects.filter(application=recalls[0].application).update(probe_at=None)
        tasks.wake(recalls[0].application, timezone.now())
    return count


def _by_recall(pairs: Iterable[tuple[UUID, int]]) -> dict[UUID, list[int]]:
    """What belongs to each recall, in the order of `pairs` (recall's id, number)."""
    found: dict[UUID, list[int]] = defaultdict(list)
    for recall_id, number in pairs:
        found[recall_id].append(number)
    return found


def _timestamps(recalls: Sequence[Recall], which: Q) -> dict[UUID, list[int]]:
    """The timestamps (ms, ascending) of those items of `recalls` that `which` is true of, by recall."""
    items = RecallItem.objects.filter(which, recall__in=recalls).order_by("timestamp")
    return _by_recall(items.values_list("recall_id", "timestamp"))
