"""Recovery after a worker died, a queue lost a task, or a backup was restored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from moderation.applications.models import Application
from moderation.audit.services import record_all
from moderation.goeasy.errors import NoAnswer
from moderation.outbox import admission
from moderation.outbox.effects import Claim, Effect, Result, effect_of, every_effect, known_calls
from moderation.outbox.models import LOST, RESTORED, UNFINISHED, UNSENT, Attempt, Call
from moderation.outbox.results import Outcome, state_after, unclaimed
from moderation.outbox.retries import wait_before_retry

# The databases limit the parameters of one statement.
MAX_ROWS = 500
# A call that has been due for this long is not being sent by any worker (seconds).
OVERDUE = 5.0


def recover_orphans() -> int:
    """Mark attempts that a dead worker left open as unknown; return their number. Sends nothing."""
    expired = known_calls().filter(state=Call.State.SENDING, lease_until__lt=timezone.now())
    return sum(recover(call) for call in expired.select_related("application").order_by("lease_until"))


def recover(call: Call) -> bool:
    """Mark the open attempt of `call` as unknown; False when another worker was first."""
    effect = effect_of(call.effect)
    subject = effect.subjects([call])[call.pk]
    with transaction.atomic():
        attempt = call.attempts.filter(outcome=Outcome.OPEN).first()
        if attempt is None:
            return False
        claim = Claim(call, attempt, subject, attempt.started_at)
        wait = wait_before_retry(NoAnswer("", kind=LOST), call.tries, repeats_unknown=effect.repeats_unknown)
        state, wait = state_after(effect, claim, Outcome.UNKNOWN, wait)
        mine = Call.objects.filter(pk=call.pk, state=Call.State.SENDING, lease_until=call.lease_until)
        if not mine.update(**unclaimed(state, wait)):
            return False
        close(Attempt.objects.filter(pk=attempt.pk), LOST)
        result = Result(claim, Outcome.UNKNOWN, state, wait=wait, problem=LOST, lost_by=call.claimed_by)
        record_all(effect.outcomes([result]))
    effect.conclude([subject])
    return True


def close(attempts: Any, problem: str) -> None:
    """Close open `attempts` as unknown, because of `problem`."""
    attempts.update(outcome=Outcome.UNKNOWN, ended_at=timezone.now(), problem=problem)


def overdue_applications() -> list[Application]:
    """The applications with overdue calls that no worker sends.

    A worker died, or the queue lost its task.
    """
    due = timezone.now() - timedelta(seconds=OVERDUE)
    calls = known_calls().filter(state=Call.State.WAITING, not_before__lt=due)
    return [
        application
        for application in Application.objects.all()
        if calls.filter(application=application).exists() and not admission.is_being_sent(application)
    ]


def lose_unfinished(**_signal: Any) -> dict[str, int]:
    """Receiver of `moderation.registry.restored`: mark unfinished calls, which may have left since the backup.

    Only calls that may be repeated are sent again. Return the effects' counts. Inside a transaction.
    """
    counts: dict[str, int] = {}
    for effect in every_effect():
        calls = list(Call.objects.filter(effect=effect.name, state__in=UNFINISHED).order_by("pk"))
        parts = (calls[start : start + MAX_ROWS] for start in range(0, len(calls), MAX_ROWS))
        counts |= effect.restored(calls, [result for some in parts for result in lose(effect, some)])
    return counts


def lose(effect: Effect, calls: Sequence[Call]) -> list[Result]:
    """Mark `calls` (of one effect) as unknown, or as waiting if they may be repeated; return the lost attempts."""
    attempts = list(Attempt.objects.filter(call__in=calls, outcome=Outcome.OPEN).select_related("call__application"))
    subjects = effect.subjects([attempt.call for attempt in attempts])
    close(Attempt.objects.filter(pk__in=[attempt.pk for attempt in attempts]), RESTORED)
    rows = Call.objects.filter(pk__in=[call.pk for call in calls])
    state = Call.State.UNKNOWN
    if effect.repeats_unknown:
        state, rows = Call.State.WAITING, rows.exclude(state__in=UNSENT)
    rows.update(**unclaimed(state))
    return [
        Result(
            Claim(attempt.call, attempt, subjects[attempt.call_id], attempt.started_at),
            Outcome.UNKNOWN,
            state,
            problem=RESTORED,
        )
        for attempt in attempts
    ]
