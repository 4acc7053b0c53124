"""Deciding on recalls: what would go, asking for one, calling it off, sending again what did not go.

The one pipeline: browser, admin and command line all come through `request_recall()`. What sends is `engine.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Count, Sum
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from moderation.accounts.models import Pseudonym, User
from moderation.archive.backfill import look_up
from moderation.archive.models import Application, Conversation, Message, Sender
from moderation.audit.models import Action
from moderation.audit.services import record
from moderation.goeasy.client import MAX_TIMESTAMPS_PER_CALL, Group, Private, Recaller, masked, recall_body
from recall.models import Evidence, Recall, RecallBatch, RecallItem, RecallReason


class NotPossible(Exception):
    """What was asked does not fit the recall's state; `sentence` says so to the person who asked."""

    def __init__(self, sentence: str | Promise) -> None:
        super().__init__(str(sentence))
        self.sentence = sentence


def plan(timestamps: Sequence[int]) -> list[tuple[int, ...]]:
    """The calls that recall `timestamps` (ms): ascending, at most 20 each (goeasy-api.md, "Recall")."""
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


def archived(conversation: Conversation, timestamps: Sequence[int]) -> list[Message]:
    """The archive's messages at `timestamps` (ms), oldest first."""
    messages: list[Message] = []
    # In parts: SQLite bounds the number of parameters of one statement.
    for start in range(0, len(timestamps), 500):
        messages += Message.objects.filter(conversation=conversation, timestamp__in=timestamps[start : start + 500])
    return sorted(messages, key=lambda message: (message.timestamp, message.pk))


@dataclass(frozen=True)
class Preview:
    """What a recall would do: its calls and their bodies (key masked), and what the archive knows of it.

    `shared`: timestamps that name more than one message; all of them go. `recalled`: messages that are recalled
    already. `unknown`: timestamps at which the archive has nothing, so that no evidence can be kept.
    """

    calls: list[tuple[int, ...]]
    bodies: list[dict[str, object]]
    known: list[Message]
    unknown: tuple[int, ...]
    shared: dict[int, list[Message]]
    recalled: list[Message]


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
    )


def call_body(
    application: Application, target: Private | Group, timestamps: Sequence[int], recaller: Recaller | None
) -> dict[str, object]:
    """The body of one call as it may be shown: its key masked."""
    body = recall_body(appkey=application.appkey(), target=target, timestamps=timestamps, recaller=recaller)
    return masked(body)


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
) -> Recall:
    """Ask for `timestamps` (ms) of `conversation` to be taken back, and return the recall.

    Evidence first: what the archive lacks is looked up in history, then the raw messages are kept with the
    recall. The same `submission` a second time returns the recall that it made the first time. Sending starts
    by itself after `grace_seconds`. Raises NotPossible when `submission` made a recall of something else.
    """
    asked = (actor.pk, conversation.pk, set(timestamps), reason.pk, note, recaller)
    if (earlier := Recall.objects.filter(submission=submission).first()) is not None:
        return _the_same(earlier, asked)
    look_up(conversation, timestamps)
    try:
        with transaction.atomic():
            recall = Recall.objects.create(
                conversation=conversation,
                actor=actor,
                sent_for=actor.get_username(),
                reason=reason,
                note=note,
                recaller_id=recaller.id if recaller else "",
                recaller_data=(recaller.data or None) if recaller else None,
                application=conversation.application,
                submission=submission,
                not_before=timezone.now() + timedelta(seconds=grace_seconds),
            )
            _split(recall, plan(timestamps))
            record(
                actor=actor.get_username(),
                action=Action.REQUESTED,
                app=conversation.application.slug,
                conversation=conversation.for_audit(),
                recall=recall.id,
                timestamps=sorted(set(timestamps)),
                detail={
                    "reason": reason.code,
                    "note": note,
                    "recaller": (recaller.as_field() if recaller else None),
                    "calls": len(plan(timestamps)),
                },
            )
            wake(recall)
    except IntegrityError:
        # The same form came in twice at once, and the other one was first.
        if (earlier := Recall.objects.filter(submission=submission).first()) is None:
            raise
        return _the_same(earlier, asked)
    return recall


def _the_same(earlier: Recall, asked: tuple[object, ...]) -> Recall:
    """`earlier`, if that is what is asked for again. Otherwise a form that a browser brought back was changed and
    sent once more: answering with the earlier recall would leave the change undone without a word.
    """
    timestamps = set(earlier.items.values_list("timestamp", flat=True))
    made = (earlier.actor_id, earlier.conversation_id, timestamps, earlier.reason_id, earlier.note, earlier.recaller)
    if made != asked:
        raise NotPossible(_("This form has made another recall already. Nothing new was sent."))
    return earlier


def _split(recall: Recall, calls: list[tuple[int, ...]]) -> None:
    """Write the recall's batches, items and evidence."""
    batches = RecallBatch.objects.bulk_create(
        RecallBatch(recall=recall, index=index, size=len(call)) for index, call in enumerate(calls)
    )
    items = RecallItem.objects.bulk_create(
        RecallItem(recall=recall, batch=batch, position=position, timestamp=timestamp)
        for batch, call in zip(batches, calls, strict=True)
        for position, timestamp in enumerate(call)
    )
    item_at = {item.timestamp: item for item in items}
    messages = archived(recall.conversation, list(item_at))
    names = dict(
        Sender.objects.filter(
            application=recall.application, user_id__in={message.sender_id for message in messages}
        ).values_list("user_id", "name")
    )
    Evidence.objects.bulk_create(
        Evidence(
            item=item_at[message.timestamp],
            message_id=message.message_id,
            sender_id=message.sender_id,
            sender_name=names.get(message.sender_id, ""),
            type=message.type,
            raw=message.raw,
            sha256=message.sha256,
        )
        for message in messages
    )


def wake(recall: Recall) -> None:
    """Have a worker look at the recall when its time has come. The rows are the truth; this only wakes."""
    from recall.tasks import send

    send.using(run_after=recall.not_before).enqueue(str(recall.id))


def cancel_recall(recall: Recall, actor: User) -> int:
    """Call off whatever has not left; returns how many timestamps that was. Raises NotPossible when none is left."""
    with transaction.atomic():
        recall = Recall.objects.select_for_update(of=("self",)).select_related("conversation").get(pk=recall.pk)
        unsent = recall.batches.filter(state=RecallBatch.State.PENDING)
        indexes = list(unsent.select_for_update().values_list("index", flat=True))
        if not indexes:
            raise NotPossible(_("Everything has been sent already: there is nothing left to call off."))
        timestamps = list(recall.items.filter(batch__index__in=indexes).values_list("timestamp", flat=True))
        unsent.update(state=RecallBatch.State.CANCELLED)
        nothing_left = (
            recall.state == Recall.State.WAITING
            or not recall.batches.exclude(state=RecallBatch.State.CANCELLED).exists()
        )
        if not recall.batches.filter(state=RecallBatch.State.SENDING).exists():
            recall.state = Recall.State.CANCELLED if nothing_left else Recall.State.FINISHED
            recall.stop_reason = ""
            recall.finished_at = timezone.now()
            recall.save(update_fields=["state", "stop_reason", "finished_at"])
        record(
            actor=actor.get_username(),
            action=Action.CANCELLED,
            app=recall.application.slug,
            conversation=recall.conversation.for_audit(),
            recall=recall.id,
            timestamps=timestamps,
            detail={"batches": indexes},
        )
    return len(timestamps)


def can_retry(recall: Recall) -> bool:
    """Whether something was refused or never left, and may be sent again."""
    return recall.state in {Recall.State.STOPPED, Recall.State.FINISHED} and (
        recall.batches.filter(state__in=[RecallBatch.State.REFUSED, RecallBatch.State.PENDING]).exists()
    )


def retry_recall(recall: Recall, actor: User) -> int:
    """Send again what was refused or never left; returns how many calls that will be.

    What is unknown is never sent again by this: nobody knows that it did not take effect. Raises NotPossible.
    """
    with transaction.atomic():
        recall = Recall.objects.select_for_update(of=("self",)).select_related("conversation").get(pk=recall.pk)
        if recall.state not in {Recall.State.STOPPED, Recall.State.FINISHED}:
            raise NotPossible(_("This recall is still under way."))
        again = recall.batches.filter(state__in=[RecallBatch.State.REFUSED, RecallBatch.State.PENDING])
        indexes = list(again.values_list("index", flat=True))
        if not indexes:
            raise NotPossible(_("Nothing of this recall was refused or left unsent."))
        timestamps = list(recall.items.filter(batch__index__in=indexes).values_list("timestamp", flat=True))
        again.update(state=RecallBatch.State.PENDING, next_attempt_at=None)
        recall.state = Recall.State.SENDING
        recall.stop_reason = ""
        recall.finished_at = None
        recall.not_before = timezone.now()
        recall.sent_for = actor.get_username()
        recall.save(update_fields=["state", "stop_reason", "finished_at", "not_before", "sent_for"])
        record(
            actor=actor.get_username(),
            action=Action.REQUESTED,
            app=recall.application.slug,
            conversation=recall.conversation.for_audit(),
            recall=recall.id,
            timestamps=timestamps,
            detail={"again": True, "batches": indexes},
        )
        wake(recall)
    return len(indexes)


@dataclass(frozen=True)
class Progress:
    """How far a recall is, in batches (calls) and timestamps, by the batches' state."""

    calls: int
    timestamps: int
    batches: dict[str, int]
    sizes: dict[str, int]

    @property
    def final_calls(self) -> int:
        """Calls whose outcome will not change by itself."""
        return self.calls - self.batches.get("pending", 0) - self.batches.get("sending", 0)

    @property
    def outcome(self) -> str:
        """How it went, the worst first: unknown, refused, pending, cancelled, accepted."""
        for state in ("unknown", "refused", "sending", "pending", "cancelled"):
            if self.batches.get(state):
                return state
        return "accepted"


def progress_of(recalls: Sequence[Recall]) -> dict[UUID, Progress]:
    """The progress of each of `recalls`, in one query."""
    counted: dict[UUID, dict[str, tuple[int, int]]] = defaultdict(dict)
    for row in (
        RecallBatch.objects.filter(recall__in=recalls)
        .order_by()
        .values("recall_id", "state")
        .annotate(batches=Count("pk"), timestamps=Sum("size"))
    ):
        counted[row["recall_id"]][row["state"]] = (row["batches"], row["timestamps"])
    return {
        recall.pk: Progress(
            calls=sum(batches for batches, _size in counted[recall.pk].values()),
            timestamps=sum(size for _batches, size in counted[recall.pk].values()),
            batches={state: batches for state, (batches, _size) in counted[recall.pk].items()},
            sizes={state: size for state, (_batches, size) in counted[recall.pk].items()},
        )
        for recall in recalls
    }


def progress(recall: Recall) -> Progress:
    """The progress of one recall."""
    return progress_of([recall])[recall.pk]
