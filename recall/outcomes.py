"""What became of a call: recorded with its audit entry in one commit, and what follows from it for batch and recall."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from moderation.applications.models import Application
from moderation.audit.models import Action, AuditEntry
from moderation.audit.requests import WORKER
from moderation.audit.services import entry, record, record_all
from moderation.goeasy.client import Answer
from moderation.goeasy.errors import GoEasyError, InvalidCall, NotAllowed, NotSent, Refused
from recall import limits
from recall.models import NEEDS_A_PERSON, Circuit, Recall, RecallAttempt, RecallBatch

log = logging.getLogger(__name__)

Outcome = RecallAttempt.Outcome
# `problem` of an attempt whose worker ended without recording an outcome.
LOST = "worker_lost"
# A batch that has no outcome yet.
UNSENT = [RecallBatch.State.PENDING, RecallBatch.State.SENDING]

# A call that surely had no effect is tried this often in all, waiting longer each time (seconds).
MAX_ATTEMPTS = 10
FIRST_WAIT = 0.5
LONGEST_WAIT = 20.0
# How long an outcome is tried to be recorded while the database is away (seconds).
PATIENCE_WITH_DATABASE = 60.0


@dataclass(frozen=True)
class Claim:
    """A batch that may be sent not before `at`, its intent committed."""

    recall: Recall
    batch: RecallBatch
    attempt: RecallAttempt
    timestamps: tuple[int, ...]
    at: datetime


class Withdrawn(NotSent):
    """Claimed and then not tried: the worker was told to end, its lease had run out, or GoEasy refuses calls."""

    kind = "withdrawn"


def wait_before_retry(error: GoEasyError, tries: int) -> float | None:
    """Seconds to wait before the same call is sent again, or None when it never is: the retry policy.

    Only what surely had no effect is sent again by itself: what never left, and what GoEasy put off (429; 503 without
    a code).
    Capped full jitter, and Retry-After where GoEasy names it.
    """
    if isinstance(error, Withdrawn):
        return 0.0
    if isinstance(error, NotAllowed):
        return None
    put_off = isinstance(error, Refused) and error.number in {429, 503}
    if tries >= MAX_ATTEMPTS or not (put_off or isinstance(error, NotSent)):
        return None
    if isinstance(error, Refused) and error.retry_after is not None:
        return min(max(error.retry_after, 0.0), LONGEST_WAIT)
    return random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**tries))  # noqa: S311 - jitter, not a secret


def surely(record_it: Callable[[], None]) -> None:
    """Record what is known of calls even if the database goes away meanwhile: it is not known anywhere else.

    Raises what the database raises when it stays away for PATIENCE_WITH_DATABASE; the attempts are then found open.
    """
    deadline = time.monotonic() + PATIENCE_WITH_DATABASE
    while True:
        try:
            return record_it()
        except (OperationalError, InterfaceError):
            if connection.in_atomic_block or time.monotonic() > deadline:
                raise
            log.warning("the database did not take an outcome; trying again")
            connection.close()
            time.sleep(0.5)


def record_results(circuit: Circuit, results: list[tuple[Claim, Answer | GoEasyError]]) -> None:
    """Commit what became of calls, and finish the recalls of which nothing is left to send.

    Done twice it records nothing twice.
    """
    accepted = [(claim, result) for claim, result in results if isinstance(result, Answer)]
    one_by_one = len(accepted) < len(results)
    if accepted and not record_accepted(accepted):
        one_by_one = True
        for claim, answer in accepted:
            record_outcome(claim, Outcome.ACCEPTED, RecallBatch.State.ACCEPTED, answer=answer)
    if accepted:
        limits.note_answer(circuit)
    for claim, error in results:
        if isinstance(error, GoEasyError):
            record_error(circuit, claim, error)
    if one_by_one:
        settle({claim.recall.pk for claim, _result in results})


def record_accepted(accepted: list[tuple[Claim, Answer]]) -> bool:
    """`record_outcome()` for many accepted calls, and `settle()`, in one commit.

    False, and nothing is recorded, if one of the calls is not open any more. When two workers commit the last calls
    of a recall at the same moment, neither sees it finished here; `Turn.has_more()` does, before a turn ends.
    """
    now = timezone.now()
    ended_at = connection.ops.adapt_datetimefield_value(now)
    with transaction.atomic(), connection.cursor() as cursor:
        # The ORM has no statement that writes other values into each of several rows, and says how many it changed.
        cursor.executemany(
            "UPDATE recall_recallattempt SET outcome = %s, ended_at = %s, http_status = %s, response_code = %s,"
            " response_content = %s, latency_ms = %s WHERE id = %s AND outcome = %s",
            [
                (
                    Outcome.ACCEPTED.value,
                    ended_at,
                    answer.http_status,
                    answer.code,
                    answer.content,
                    answer.latency_ms,
                    claim.attempt.pk,
                    Outcome.OPEN.value,
                )
                for claim, answer in accepted
            ],
        )
        if cursor.rowcount != len(accepted):
            transaction.set_rollback(True)
            return False
        sending = RecallBatch.objects.filter(state=RecallBatch.State.SENDING)
        for usual in (True, False):
            some = [(claim.batch.pk, answer) for claim, answer in accepted if answer.is_usual is usual]
            if some:
                ends = ended(RecallBatch.State.ACCEPTED, accepted[0][0].recall.application, answer=some[0][1])
                sending.filter(pk__in=[pk for pk, _answer in some]).update(**ends)
        record_all([told(claim, Outcome.ACCEPTED, answer=answer) for claim, answer in accepted])
        settle({claim.recall.pk for claim, _answer in accepted})
    return True


def ended(
    state: str, application: Application, *, wait: float | None = None, answer: Answer | None = None
) -> dict[str, Any]:
    """What a batch is given when its call has ended, with `answer`, and it comes to `state`."""
    return {
        "state": state,
        "claimed_by": "",
        "lease_until": None,
        "next_attempt_at": None if wait is None else timezone.now() + timedelta(seconds=wait),
        "checks": 0,
        **follow_up(state, application, answer),
    }


def follow_up(state: str, application: Application, answer: Answer | None) -> dict[str, Any]:
    """What is left to find out of a batch that came to `state` with `answer`: when history is to be read, if ever.

    An accepted call whose answer is not the usual one stays to be settled: it may name messages that did not go.
    """
    states = RecallBatch.State
    unusual = state == states.ACCEPTED and answer is not None and not answer.is_usual
    if state == states.ACCEPTED:
        is_read = settings.RECALL_VERIFY or unusual
    else:
        # A refused key was refused before anything was looked at. Of any other refusal nobody knows.
        is_read = state == states.UNKNOWN or (state == states.REFUSED and not (answer and answer.refuses_key))
    at = timezone.now() + timedelta(seconds=application.verify_after) if is_read else None
    return {"check_at": at, "settlement": RecallBatch.Settlement.UNUSUAL if unusual else ""}


def told(
    claim: Claim,
    outcome: str,
    *,
    answer: Answer | None = None,
    error: GoEasyError | None = None,
    wait: float | None = None,
    late: bool = False,
) -> AuditEntry:
    """The audit entry that tells of a call's outcome."""
    return entry(
        actor=claim.recall.sent_for,
        action=Action.ANSWERED if answer else Action.UNANSWERED,
        app=claim.recall.application.slug,
        conversation=claim.recall.conversation.for_audit(),
        recall=claim.recall.pk,
        batch=claim.batch.index,
        attempt=claim.attempt.number,
        timestamps=claim.timestamps,
        http_status=status_of(answer, error),
        response_code=answer.code if answer else None,
        response_content=answer.content if answer else None,
        latency_ms=latency_of(answer, error),
        detail={
            "outcome": outcome,
            **({"problem": error.kind, "message": str(error)} if error else {}),
            **({"sent_again_after_s": round(wait, 3)} if wait is not None else {}),
            # The lease had run out and the attempt was called unknown before this answer came.
            **({"late": True} if late else {}),
            **({"unusual": True} if answer and answer.accepted and not answer.is_usual else {}),
        },
    )


def status_of(answer: Answer | None, error: GoEasyError | None) -> int | None:
    """The HTTP status that came; an answer that broke off may have told its own."""
    return answer.http_status if answer else getattr(error, "http_status", None)


def latency_of(answer: Answer | None, error: GoEasyError | None) -> int | None:
    """How long the call took (ms)."""
    return answer.latency_ms if answer else error.latency_ms if error else None


def record_error(circuit: Circuit, claim: Claim, error: GoEasyError) -> None:
    """Commit what an error tells of the call: refused, never left, or unknown."""
    answer = getattr(error, "answer", None)
    wait = wait_before_retry(error, claim.batch.tries)
    if isinstance(error, Refused):
        outcome, state = Outcome.REFUSED, RecallBatch.State.REFUSED
    elif isinstance(error, (NotSent, InvalidCall)):
        # Never sent and not to be sent again by itself: the batch stays unsent, and the recall stops.
        outcome, state = Outcome.NOT_SENT, RecallBatch.State.PENDING
    else:
        outcome, state = Outcome.UNKNOWN, RecallBatch.State.UNKNOWN
    with transaction.atomic():
        if wait is not None and called_off(claim.recall):
            # Somebody was told that nothing more leaves.
            wait = None
            state = RecallBatch.State.CANCELLED if outcome == Outcome.NOT_SENT else state
        elif wait is not None:
            state = RecallBatch.State.PENDING
        record_outcome(claim, outcome, state, answer=answer, error=error, wait=wait)
        if isinstance(error, Withdrawn):
            # Nothing was tried: it does not count.
            RecallBatch.objects.filter(pk=claim.batch.pk, tries__gt=0).update(tries=F("tries") - 1)
            return
        if isinstance(error, NotAllowed):
            # It says nothing of GoEasy, and the next call would end alike.
            stop_all(claim.recall, Recall.StopReason.NOT_ALLOWED)
            return
        limits.note_failure(circuit, error)
        if isinstance(error, Refused) and error.answer.refuses_key:
            stop_all(claim.recall, Recall.StopReason.KEY_REFUSED)
        elif isinstance(error, InvalidCall):
            stop(claim.recall, Recall.StopReason(claim.recall.application.key_problem or Recall.StopReason.INVALID))
        elif outcome == Outcome.NOT_SENT and state == RecallBatch.State.PENDING and wait is None:
            stop(claim.recall, Recall.StopReason.UNREACHABLE)


def called_off(recall: Recall) -> bool:
    """Whether what had not left was called off. Waits for somebody who is doing so, and keeps others from it."""
    Recall.objects.select_for_update().get(pk=recall.pk)
    return recall.batches.filter(state=RecallBatch.State.CANCELLED).exists()


def record_outcome(
    claim: Claim,
    outcome: str,
    state: str,
    *,
    answer: Answer | None = None,
    error: GoEasyError | None = None,
    wait: float | None = None,
) -> None:
    """Commit the attempt's outcome, the batch's new state and the audit entry, together."""
    with transaction.atomic():
        mine = RecallAttempt.objects.filter(pk=claim.attempt.pk, outcome=Outcome.OPEN).update(
            outcome=outcome,
            ended_at=timezone.now(),
            http_status=status_of(answer, error),
            response_code=answer.code if answer else None,
            response_content=answer.content if answer else "",
            latency_ms=latency_of(answer, error),
            problem=error.kind if error else "",
        )
        if mine:
            batch = RecallBatch.objects.filter(pk=claim.batch.pk, state=RecallBatch.State.SENDING)
            batch.update(**ended(state, claim.recall.application, wait=wait, answer=answer))
        elif RecallAttempt.objects.filter(pk=claim.attempt.pk, outcome=outcome).exclude(problem=LOST).exists():
            return  # Recorded: the database had only not said so.
        else:
            learn_late(claim, outcome, answer, error.kind if error else "")
        record_all([told(claim, outcome, answer=answer, error=error, wait=wait, late=not mine)])


def learn_late(claim: Claim, outcome: str, answer: Answer | None, problem: str) -> None:
    """Put an answer that came after its lease had run out in the place of none: nobody has sent it again."""
    if answer is None:
        return
    RecallAttempt.objects.filter(pk=claim.attempt.pk, outcome=Outcome.UNKNOWN, problem=LOST).update(
        outcome=outcome,
        http_status=answer.http_status,
        response_code=answer.code,
        response_content=answer.content,
        latency_ms=answer.latency_ms,
        problem=problem,
    )
    if outcome not in {Outcome.ACCEPTED, Outcome.REFUSED}:
        return
    final = RecallBatch.State.ACCEPTED if outcome == Outcome.ACCEPTED else RecallBatch.State.REFUSED
    # Not what a person has decided on, or sent again, meanwhile.
    RecallBatch.objects.filter(
        pk=claim.batch.pk, state=RecallBatch.State.UNKNOWN, attempt_count=claim.attempt.number
    ).update(state=final, **follow_up(final, claim.recall.application, answer))


def stop_all(recall: Recall, reason: Recall.StopReason) -> None:
    """`stop()` every recall of the same application that is being sent."""
    for other in Recall.objects.filter(application=recall.application_id, state=Recall.State.SENDING):
        stop(other, reason)


def stop(recall: Recall, reason: Recall.StopReason) -> None:
    """Send nothing more of the recall until a person has acted."""
    with transaction.atomic():
        stopped = Recall.objects.filter(pk=recall.pk, state=Recall.State.SENDING).update(
            state=Recall.State.STOPPED, stop_reason=reason, finished_at=timezone.now()
        )
        if stopped:
            record(
                actor=WORKER,
                action=Action.STOPPED,
                app=recall.application.slug,
                conversation=recall.conversation.for_audit(),
                recall=recall.pk,
                detail={"reason": reason},
            )


def settle(recalls: Iterable[UUID]) -> None:
    """Call those of `recalls` (ids) finished of which no batch is unsent or being sent."""
    left = RecallBatch.objects.filter(recall=OuterRef("pk"), state__in=UNSENT)
    states = Recall.State
    done = Recall.objects.filter(~Exists(left), pk__in=list(recalls))
    # Nobody but a person makes a batch unsent again, and not while its recall is being sent: one statement is enough.
    done.filter(state=states.SENDING).update(state=states.FINISHED, finished_at=timezone.now())
    for recall in done.filter(state=states.STOPPED):
        with transaction.atomic():
            locked = Recall.objects.select_for_update(of=("self",)).get(pk=recall.pk)
            if locked.state != states.STOPPED:
                continue
            if locked.batches.filter(state__in=UNSENT).exists():
                continue
            # After a restore nothing was left unsent, and a person may have to decide.
            is_restored = locked.stop_reason == Recall.StopReason.RESTORED
            if locked.batches.filter(NEEDS_A_PERSON if is_restored else Q(state=RecallBatch.State.REFUSED)).exists():
                continue
            locked.state = states.FINISHED
            locked.stop_reason = ""
            locked.finished_at = timezone.now()
            locked.save(update_fields=["state", "stop_reason", "finished_at"])


def recover_orphans() -> int:
    """Find attempts that a dead worker left open and call them unknown; returns how many. Sends nothing."""
    found = 0
    expired = RecallBatch.objects.filter(
        state=RecallBatch.State.SENDING, lease_until__lt=timezone.now()
    ).select_related("recall__application", "recall__conversation")
    for batch in expired:
        with transaction.atomic():
            taken = RecallBatch.objects.filter(
                pk=batch.pk, state=RecallBatch.State.SENDING, lease_until=batch.lease_until
            ).update(**ended(RecallBatch.State.UNKNOWN, batch.recall.application))
            if not taken:
                continue
            attempt = batch.attempts.filter(outcome=Outcome.OPEN).get()
            attempt.outcome = Outcome.UNKNOWN
            attempt.ended_at = timezone.now()
            attempt.problem = LOST
            attempt.save(update_fields=["outcome", "ended_at", "problem"])
            record(
                actor=WORKER,
                action=Action.UNANSWERED,
                app=batch.recall.application.slug,
                conversation=batch.recall.conversation.for_audit(),
                recall=batch.recall.pk,
                batch=batch.index,
                attempt=attempt.number,
                timestamps=list(batch.items.order_by("position").values_list("timestamp", flat=True)),
                detail={"outcome": Outcome.UNKNOWN, "problem": LOST, "worker": batch.claimed_by},
            )
        found += 1
        settle({batch.recall_id})
    return found
