"""Sweeps: taking back what one sender wrote in an application between two times, a recall for each conversation.

What goes is what the archive has: nothing is looked up. Each recall is an ordinary one (`services.create_recalls`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from moderation.accounts.models import User
from moderation.applications.models import Application
from moderation.archive.models import Conversation, Message
from moderation.archive.names import sender_names
from moderation.archive.rows import in_parts
from moderation.goeasy.client import Recaller
from moderation.outbox import tasks
from moderation.reviewed import Seen, aspect
from recall import reviews
from recall.decisions import (
    MAY_BE_SENT_AGAIN,
    RETRIED_FROM,
    call_off,
    check,
    locked,
    nothing_to_cancel,
    resend,
    to_cancel,
    to_send_again,
)
from recall.models import Recall, RecallBatch, RecallItem, RecallReason, Sweep
from recall.services import (
    Draft,
    NotPossible,
    create_recalls,
    is_overridden,
    plan,
)
from recall.timestamps import can_be_named

# Of each conversation, so many of its messages are shown before the sweep is confirmed.
SAMPLES = 3


@dataclass(frozen=True)
class Part:
    """What a sweep takes back in one conversation: timestamps (ms), and the keys of the newest few messages.

    `others`: keys of messages of other senders that go as well, because they share a millisecond with one of these.
    """

    conversation_id: int
    timestamps: tuple[int, ...]
    samples: tuple[int, ...]
    others: tuple[int, ...] = ()


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep would take back, the conversation with the most first.

    `digest` changes when the sender's messages do. `too_many`: more than the set maximum, so that nothing was planned.
    `left_out`: timestamps that a recall has named already and that GoEasy has not refused.
    """

    parts: list[Part] = field(default_factory=list)
    too_many: bool = False
    digest: str = ""
    left_out: int = 0

    @property
    def timestamps(self) -> int:
        return sum(len(part.timestamps) for part in self.parts)

    @property
    def calls(self) -> int:
        return sum(len(plan(part.timestamps)) for part in self.parts)

    @property
    def others(self) -> int:
        return sum(len(part.others) for part in self.parts)


def plan_sweep(*, application: Application, sender_id: str, since: int, until: int) -> SweepPlan:
    """What `sender_id` wrote from `since` to `until` (ms, ends included) that is not recalled yet.

    The number of queries grows with the messages, 500 to a query, not with the conversations.
    """
    most = settings.SWEEP_MAX_MESSAGES
    written = Message.objects.filter(
        conversation__application=application,
        sender_id=sender_id,
        timestamp__gte=since,
        timestamp__lte=until,
        recalled=False,
    )
    names = ("conversation_id", "timestamp", "id", "sha256")
    rows = list(written.order_by("timestamp", "id").values_list(*names)[: most + 1])
    if len(rows) > most:
        return SweepPlan(too_many=True)
    rows = [row for row in rows if can_be_named(row[1])]
    taken = _taken({timestamp for _conversation, timestamp, *_rest in rows})
    ids: dict[int, dict[int, int]] = defaultdict(dict)
    for conversation_id, timestamp, pk, _sha256 in rows:
        if (conversation_id, timestamp) not in taken:
            ids[conversation_id][timestamp] = pk
    others = _others(sender_id, ids)
    parts = [
        Part(
            conversation_id,
            tuple(by_time),
            tuple(by_time.values())[-SAMPLES:],
            tuple(others.get(conversation_id, ())),
        )
        for conversation_id, by_time in sorted(ids.items(), key=lambda each: (-len(each[1]), each[0]))
    ]
    _number, digest = aspect(row for row in rows if row[:2] not in taken)
    left_out = len({row[:2] for row in rows} & taken)
    return SweepPlan(parts, digest=digest, left_out=left_out)


def without_a_time(*, application: Application, sender_id: str, since: int, until: int, most: int) -> int:
    """Number of the sender's messages (at most `most`) that arrived in this span (ms) and cannot be recalled."""
    arrived = Message.objects.filter(
        conversation__application=application, sender_id=sender_id, placed_at__range=(since, until), recalled=False
    )
    return sum(not can_be_named(timestamp) for timestamp in arrived.values_list("timestamp", flat=True)[:most])


def _taken(timestamps: set[int]) -> set[tuple[int, int]]:
    """The (conversation, timestamp) that a recall of ours has named, unless GoEasy refused it or it was cancelled,
    and history has not shown it to be gone all the same.

    Unknown and still visible ones are included: a person decides on them on the page of their recall, and a sweep must
    not send them as well.
    """
    states = RecallBatch.State
    named: set[tuple[int, int]] = set()
    for some in in_parts(sorted(timestamps)):
        items = RecallItem.objects.filter(timestamp__in=some).exclude(
            ~Q(verification=RecallItem.Verification.GONE), batch__state__in=[states.REFUSED, states.CANCELLED]
        )
        named.update(items.values_list("recall__conversation_id", "timestamp"))
    return named


def _others(sender_id: str, ids: dict[int, dict[int, int]]) -> dict[int, list[int]]:
    """The keys of the messages of other senders at the same milliseconds, by conversation; recalled ones are gone."""
    others: dict[int, list[int]] = defaultdict(list)
    for some in in_parts(sorted({timestamp for by_time in ids.values() for timestamp in by_time})):
        rows = (
            # Filter by time alone, and by conversation below: few messages share a millisecond, and with both columns
            # a database may look up every combination.
            Message.objects.filter(timestamp__in=some, recalled=False)
            .exclude(sender_id=sender_id)
            .order_by("timestamp", "id")
            .values_list("conversation_id", "timestamp", "id")
        )
        for conversation_id, timestamp, pk in rows:
            if timestamp in ids.get(conversation_id, ()):
                others[conversation_id].append(pk)
    return others


def request_sweep(
    *,
    application: Application,
    sender_id: str,
    since: int,
    until: int,
    actor: User,
    reason: RecallReason,
    note: str,
    recaller: Recaller | None,
    submission: UUID,
    grace_seconds: float,
    seen: Seen | None = None,
) -> Sweep:
    """Request the recalls that `plan_sweep()` plans, and return the sweep.

    `seen`: what the review showed; None when nobody reviewed it. The same `submission` a second time returns the sweep
    that it made the first time. Raises NotPossible when nothing or too much would go, and when `submission` made
    another sweep; Changed when the review would show something else now.
    """
    request = (actor.pk, application.pk, sender_id, since, until, reason.pk, note, recaller)
    with transaction.atomic():
        # Decisions of one application run one after the other, so that a repeated form is recognised.
        Application.objects.select_for_update(no_key=True).get(pk=application.pk)
        if (earlier := Sweep.objects.filter(submission=submission).first()) is not None:
            return _earlier_if_same(earlier, request)
        planned = plan_sweep(application=application, sender_id=sender_id, since=since, until=until)
        if (problem := problem_of(planned)) is not None:
            raise problem
        if seen:
            span: dict[str, Any] = {"application": application, "sender_id": sender_id, "since": since, "until": until}
            check_review(seen, planned, **span, actor=actor, reason=reason, note=note, recaller=recaller)
        sweep = Sweep.objects.create(
            application=application,
            sender_id=sender_id,
            sender_name=sender_names(application, [sender_id]).get(sender_id, ""),
            since=since,
            until=until,
            actor=actor,
            submission=submission,
        )
        conversations = conversations_of(planned.parts)
        recalls = create_recalls(
            [Draft(conversations[part.conversation_id], part.timestamps) for part in planned.parts],
            actor=actor,
            reason=reason,
            note=note,
            recaller=recaller,
            not_before=timezone.now() + timedelta(seconds=grace_seconds),
            sweep=sweep,
            seen=seen,
        )
        # One is enough: a worker sends all that is due in the application.
        tasks.wake(application, recalls[0].not_before)
    return sweep


def check_review(
    seen: Seen,
    planned: SweepPlan,
    *,
    application: Application,
    actor: User,
    reason: RecallReason,
    recaller: Recaller | None,
    **fields: Any,
) -> None:
    """Raise Changed when the review would show something other than `seen`."""
    overridden = is_overridden(recaller, actor, application)
    now = reviews.of_sweep(
        application=application, reason=reason, recaller=recaller, is_overridden=overridden, planned=planned, **fields
    )
    reviews.check(seen, now, reason, partial(reviews.requested_of_sender_meanwhile, application, fields["sender_id"]))


def problem_of(planned: SweepPlan) -> NotPossible | None:
    """Why the planned sweep cannot be requested; None when it can."""
    if planned.too_many:
        return NotPossible(
            _("These are more than %(most)d messages. Choose a shorter time.") % {"most": settings.SWEEP_MAX_MESSAGES}
        )
    if not planned.parts and planned.left_out:
        return NotPossible(_("Nothing is left to recall: all of these messages are part of other recalls already."))
    if not planned.parts:
        return NotPossible(_("The archive has no message of this sender in this time that is not recalled yet."))
    return None


def conversations_of(parts: Sequence[Part]) -> dict[int, Conversation]:
    """The conversations of `parts`, by key."""
    conversations: dict[int, Conversation] = {}
    for some in in_parts([part.conversation_id for part in parts]):
        conversations |= Conversation.objects.select_related("application").in_bulk(some)
    return conversations


def _earlier_if_same(earlier: Sweep, request: tuple[object, ...]) -> Sweep:
    """Return `earlier` if it is the same request; raise NotPossible otherwise (as in `services`)."""
    first = earlier.recalls.all()[0]
    made = (earlier.actor_id, earlier.application_id, earlier.sender_id, earlier.since, earlier.until)
    if (*made, first.reason_id, first.note, first.recaller) != request:
        raise NotPossible(_("This form was used for another sweep already. Nothing new was sent."))
    return earlier


def with_batches(sweep: Sweep, which: Q) -> QuerySet[Recall]:
    """The sweep's recalls that have a batch that matches `which`."""
    return sweep.recalls.filter(Exists(RecallBatch.objects.filter(which, recall=OuterRef("pk")))).order_by("pk")


def cancel_sweep(sweep: Sweep, actor: User, seen: Seen | None = None) -> int:
    """Cancel the calls of the sweep that have not left; return the number of timestamps.

    `seen`: what the person was shown. Raises NotPossible, Changed.
    """
    with transaction.atomic():
        recalls = locked(with_batches(sweep, Q(state=RecallBatch.State.PENDING)))
        if not recalls:
            raise nothing_to_cancel(RecallBatch.objects.filter(recall__sweep=sweep))
        check(seen, to_cancel(sweep.recalls.all()))
        return call_off(recalls, actor)


def retry_sweep(sweep: Sweep, actor: User, seen: Seen | None = None) -> int:
    """Send again what was refused, never left or is still visible, of all recalls of the sweep that are not under way.

    Return the number of calls. `seen`: what the person was shown. Raises NotPossible, Changed.
    """
    with transaction.atomic():
        recalls = locked(with_batches(sweep, MAY_BE_SENT_AGAIN).filter(state__in=RETRIED_FROM))
        if not recalls:
            raise NotPossible(_("Nothing of this sweep was refused, not sent or is still visible."))
        check(seen, to_send_again(sweep.recalls.all()))
        return resend(recalls, MAY_BE_SENT_AGAIN, actor)
