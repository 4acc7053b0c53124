"""Sweeps: taking back what one sender wrote in an application between two times, a recall for each conversation.

What goes is what the archive has: nothing is looked up. Each recall is an ordinary one (`services.create_recalls`).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from moderation.accounts.models import User
from moderation.archive import timeline
from moderation.archive.models import Application, Conversation, Message
from moderation.goeasy.client import Recaller
from recall.models import Recall, RecallBatch, RecallItem, RecallReason, Sweep
from recall.services import Draft, NotPossible, Progress, cancel_recall, create_recalls, plan, progress_of, wake

SAMPLES = 3


@dataclass(frozen=True)
class Part:
    """What a sweep takes back in one conversation: timestamps (ms), and the newest few of its messages.

    `others`: messages that go as well, because they share a millisecond with one of the sender's.
    """

    conversation: Conversation
    timestamps: tuple[int, ...]
    samples: list[Message]
    others: int = 0


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep would take back. `digest` changes when that does. `too_many`: more than the set maximum."""

    parts: list[Part]
    too_many: bool = False
    digest: str = ""
    under_way: int = 0

    @property
    def timestamps(self) -> int:
        return sum(len(part.timestamps) for part in self.parts)

    @property
    def calls(self) -> int:
        return sum(len(plan(part.timestamps)) for part in self.parts)

    @property
    def others(self) -> int:
        return sum(part.others for part in self.parts)


def plan_sweep(*, application: Application, sender_id: str, since: int, until: int) -> SweepPlan:
    """What `sender_id` wrote from `since` to `until` (ms, ends included) that is not recalled yet, by conversation.

    What a recall has named already is left out, unless GoEasy refused it, and counted in `under_way`.
    """
    most = settings.SWEEP_MAX_MESSAGES
    written = Message.objects.filter(
        conversation__application=application,
        sender_id=sender_id,
        timestamp__gte=since,
        timestamp__lte=until,
        recalled=False,
    )
    found = list(written.order_by("timestamp", "id").values_list("conversation_id", "timestamp")[: most + 1])
    if len(found) > most:
        return SweepPlan([], too_many=True)
    by_conversation: dict[int, set[int]] = defaultdict(set)
    for conversation_id, timestamp in found:
        by_conversation[conversation_id].add(timestamp)
    under_way = 0
    for conversation_id, timestamps in by_conversation.items():
        taken = _taken(conversation_id, timestamps)
        timestamps -= taken
        under_way += len(taken)
    conversations = Conversation.objects.select_related("application").in_bulk(by_conversation)
    digest = hashlib.sha256()
    parts = []
    for conversation_id, timestamps in sorted(by_conversation.items(), key=lambda each: (-len(each[1]), each[0])):
        if not timestamps:
            continue
        digest.update(f"{conversation_id}:{sorted(timestamps)};".encode())
        conversation = conversations[conversation_id]
        newest = written.filter(conversation=conversation).order_by("-timestamp", "-id")[:SAMPLES]
        shared = timeline.sharing(conversation, timestamps)
        parts.append(
            Part(
                conversation,
                tuple(sorted(timestamps)),
                list(newest)[::-1],
                _others(conversation, sender_id, set(shared)) if shared else 0,
            )
        )
    return SweepPlan(parts, digest=digest.hexdigest(), under_way=under_way)


def _taken(conversation_id: int, timestamps: set[int]) -> set[int]:
    """Those of `timestamps` (ms) that a recall has named and GoEasy has not refused."""
    states = RecallBatch.State
    wanted = sorted(timestamps)
    taken: set[int] = set()
    # In parts: SQLite bounds the number of parameters of one statement.
    for start in range(0, len(wanted), 500):
        items = RecallItem.objects.filter(
            recall__conversation=conversation_id,
            timestamp__in=wanted[start : start + 500],
            batch__state__in=[states.PENDING, states.SENDING, states.ACCEPTED],
        )
        taken.update(items.values_list("timestamp", flat=True))
    return taken


def _others(conversation: Conversation, sender_id: str, timestamps: set[int]) -> int:
    """How many messages of other senders there are at `timestamps` (ms)."""
    wanted = sorted(timestamps)
    return sum(
        Message.objects.filter(conversation=conversation, timestamp__in=wanted[start : start + 500])
        .exclude(sender_id=sender_id)
        .count()
        for start in range(0, len(wanted), 500)
    )


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
    digest: str,
    grace_seconds: float,
) -> Sweep:
    """Ask for what `plan_sweep()` found to be taken back, and return the sweep.

    `digest` is that of the plan that the person saw. The same `submission` a second time returns the sweep that it
    made the first time. Raises NotPossible when nothing, too much, or something else than was seen would go.
    """
    if (earlier := Sweep.objects.filter(submission=submission).first()) is not None:
        return earlier
    try:
        with transaction.atomic():
            planned = plan_sweep(application=application, sender_id=sender_id, since=since, until=until)
            if planned.too_many:
                raise NotPossible(
                    _("This is more than %(most)d messages. Choose a shorter time.")
                    % {"most": settings.SWEEP_MAX_MESSAGES}
                )
            if not planned.parts:
                raise NotPossible(_("There is nothing to take back: the archive has no such message left."))
            if planned.digest != digest:
                raise NotPossible(_("What would go has changed since you looked. Look at it again."))
            sweep = Sweep.objects.create(
                application=application,
                sender_id=sender_id,
                since=since,
                until=until,
                actor=actor,
                submission=submission,
            )
            recalls = create_recalls(
                [Draft(part.conversation, part.timestamps) for part in planned.parts],
                actor=actor,
                reason=reason,
                note=note,
                recaller=recaller,
                not_before=timezone.now() + timedelta(seconds=grace_seconds),
                sweep=sweep,
            )
            # One is enough: a worker sends all that is due in the application.
            wake(recalls[0])
    except IntegrityError:
        # The same form came in twice at once, and the other one was first.
        if (earlier := Sweep.objects.filter(submission=submission).first()) is None:
            raise
        return earlier
    return sweep


def cancel_sweep(sweep: Sweep, actor: User) -> int:
    """Call off whatever of the sweep has not left; returns how many timestamps that was. Raises NotPossible."""
    count = 0
    for recall in sweep.recalls.filter(batches__state=RecallBatch.State.PENDING).distinct():
        try:
            count += cancel_recall(recall, actor)
        except NotPossible:
            # The worker was faster with this one.
            continue
    if not count:
        raise NotPossible(_("Everything has been sent already: there is nothing left to call off."))
    return count


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is: the sum of its recalls' progress, and each recall with its own."""

    whole: Progress
    recalls: list[tuple[Recall, Progress]] = field(default_factory=list)


def progress_of_sweep(sweep: Sweep) -> SweepProgress:
    """The progress of a sweep, in two queries."""
    recalls = list(sweep.recalls.select_related("conversation__application", "actor", "reason").order_by("-pk"))
    each = progress_of(recalls)
    batches: dict[str, int] = defaultdict(int)
    sizes: dict[str, int] = defaultdict(int)
    for progress in each.values():
        for state, number in progress.batches.items():
            batches[state] += number
        for state, number in progress.sizes.items():
            sizes[state] += number
    whole = Progress(
        calls=sum(batches.values()), timestamps=sum(sizes.values()), batches=dict(batches), sizes=dict(sizes)
    )
    ordered = sorted(recalls, key=lambda recall: (-each[recall.pk].timestamps, str(recall.pk)))
    return SweepProgress(whole, [(recall, each[recall.pk]) for recall in ordered])
