"""Recording of outcomes: attempt, call, subject and audit entry are committed together."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from moderation.audit.services import record_all
from moderation.goeasy.client import Answer
from moderation.goeasy.errors import GoEasyError, InvalidCall, NotAllowed, NotSent, Refused
from moderation.outbox import admission
from moderation.outbox.effects import Claim, Effect, Result, StopReason, effect_of, stop_everything
from moderation.outbox.models import LOST, Attempt, Call, Circuit
from moderation.outbox.retries import Withdrawn, wait_before_retry

Outcome = Attempt.Outcome
# State of a call after an outcome that is not retried.
FINAL = {
    Outcome.ACCEPTED: Call.State.ACCEPTED,
    Outcome.REFUSED: Call.State.REFUSED,
    Outcome.UNKNOWN: Call.State.UNKNOWN,
    # It may leave once a person decides so.
    Outcome.NOT_SENT: Call.State.HELD,
}


def record_results(circuit: Circuit, results: list[tuple[Claim, Answer | GoEasyError]]) -> None:
    """Commit the outcomes of calls. Idempotent: a repetition records nothing twice."""
    accepted = [(claim, result) for claim, result in results if isinstance(result, Answer)]
    one_by_one = len(accepted) < len(results)
    if accepted and not record_accepted(accepted):
        one_by_one = True
        for claim, answer in accepted:
            record_outcome(Result(claim, Outcome.ACCEPTED, Call.State.ACCEPTED, answer=answer))
    if accepted:
        admission.note_answer(circuit)
    for claim, error in results:
        if isinstance(error, GoEasyError):
            record_error(circuit, claim, error)
    if one_by_one:
        conclude([claim for claim, _result in results])


def record_accepted(accepted: list[tuple[Claim, Answer]]) -> bool:
    """`record_outcome()` for many accepted calls in one commit.

    False, and nothing is recorded, if one of the attempts is not open any more.
    """
    ended_at = connection.ops.adapt_datetimefield_value(timezone.now())
    results = [Result(claim, Outcome.ACCEPTED, Call.State.ACCEPTED, answer=answer) for claim, answer in accepted]
    with transaction.atomic(), connection.cursor() as cursor:
        # The ORM cannot write different values to several rows and return how many rows changed.
        cursor.executemany(
            "UPDATE outbox_attempt SET outcome = %s, ended_at = %s, http_status = %s, response_code = %s,"
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
        calls = Call.objects.filter(pk__in=[claim.call.pk for claim, _answer in accepted], state=Call.State.SENDING)
        calls.update(**unclaimed(Call.State.ACCEPTED))
        update_subjects(results)
        conclude([claim for claim, _answer in accepted])
    return True


def update_subjects(results: list[Result]) -> None:
    """Have the effects update the subjects of `results`, and record their events. Inside a transaction."""
    for name, some in groupby(results, key=lambda result: result.claim.call.effect):
        record_all(effect_of(name).outcomes(list(some)))


def conclude(claims: list[Claim]) -> None:
    """Have the effects finish the subjects that have nothing left to send.

    When two workers commit the last calls of a subject at the same moment, neither sees it finished here; a sender
    that looks for work does (`Effect.complete`).
    """
    for name, some in groupby(claims, key=lambda claim: claim.call.effect):
        effect_of(name).conclude([claim.subject for claim in some])


def unclaimed(state: str, wait: float | None = None) -> dict[str, Any]:
    """Fields of a call that ends in `state` and is no longer claimed; it is retried after `wait` seconds."""
    again = {} if wait is None else {"not_before": timezone.now() + timedelta(seconds=wait)}
    return {"state": state, "claimed_by": "", "lease_until": None, **again}


def record_error(circuit: Circuit, claim: Claim, error: GoEasyError) -> None:
    """Commit the outcome of an error: refused, not sent, or unknown. Stops subjects that must not continue."""
    effect = effect_of(claim.call.effect)
    application = claim.call.application
    outcome = outcome_of(error)
    wait = wait_before_retry(error, claim.call.tries, repeats_unknown=effect.repeats_unknown)
    with transaction.atomic():
        state, wait = state_after(effect, claim, outcome, wait)
        answer = getattr(error, "answer", None)
        record_outcome(Result(claim, outcome, state, answer=answer, error=error, wait=wait))
        if isinstance(error, Withdrawn):
            # Nothing was tried: it does not count.
            Call.objects.filter(pk=claim.call.pk, tries__gt=0).update(tries=F("tries") - 1)
            return
        if isinstance(error, NotAllowed):
            # It says nothing about GoEasy's health, and the next call would fail in the same way.
            stop_everything(application, StopReason.NOT_ALLOWED)
            return
        admission.note_failure(circuit, error)
        if isinstance(error, Refused) and error.answer.refuses_key:
            stop_everything(application, StopReason.KEY_REFUSED)
        elif isinstance(error, InvalidCall):
            effect.stop(claim.subject, StopReason(application.key_problem or StopReason.INVALID))
        elif outcome == Outcome.NOT_SENT and wait is None and state == Call.State.HELD:
            effect.stop(claim.subject, StopReason.UNREACHABLE)


def outcome_of(error: GoEasyError) -> Attempt.Outcome:
    """Outcome of an attempt that ended with an error."""
    if isinstance(error, Refused):
        return Outcome.REFUSED
    return Outcome.NOT_SENT if isinstance(error, (NotSent, InvalidCall)) else Outcome.UNKNOWN


def state_after(effect: Effect, claim: Claim, outcome: Attempt.Outcome, wait: float | None) -> tuple[str, float | None]:
    """New state of a call, and seconds until its retry: None when there is none, or it was cancelled meanwhile."""
    if wait is None:
        return FINAL[outcome], None
    standing = effect.standing(claim)
    if standing != Call.State.CANCELLED:
        return standing, wait
    # The person who cancelled it was promised that nothing more leaves.
    return Call.State.CANCELLED if outcome == Outcome.NOT_SENT else FINAL[outcome], None


def record_outcome(result: Result) -> None:
    """Commit the attempt's outcome, the call's new state, what that means for the subject, and the audit entry."""
    claim, outcome = result.claim, result.outcome
    with transaction.atomic():
        is_mine = Attempt.objects.filter(pk=claim.attempt.pk, outcome=Outcome.OPEN).update(
            outcome=outcome,
            ended_at=timezone.now(),
            problem=result.error.kind if result.error else "",
            **answer_fields(result),
        )
        if is_mine:
            calls = Call.objects.filter(pk=claim.call.pk, state=Call.State.SENDING)
            calls.update(**unclaimed(str(result.state), result.wait))
        elif Attempt.objects.filter(pk=claim.attempt.pk, outcome=outcome).exclude(problem=LOST).exists():
            return  # Already recorded, although the commit seemed to fail.
        else:
            result = learn_late(result)
        update_subjects([result])


def answer_fields(result: Result) -> dict[str, Any]:
    """Fields of an attempt for its answer."""
    return {
        "http_status": result.http_status,
        "response_code": result.answer.code if result.answer else None,
        "response_content": result.answer.content if result.answer else "",
        "latency_ms": result.latency_ms,
    }


def learn_late(result: Result) -> Result:
    """Record an answer that came after the lease had expired, unless the call was sent again since."""
    claim, outcome = result.claim, result.outcome
    late = replace(result, state=None, is_late=True)
    if result.answer is None:
        return late
    effect = effect_of(claim.call.effect)
    attempt = Attempt.objects.filter(pk=claim.attempt.pk, outcome=Outcome.UNKNOWN, problem=LOST)
    attempt.update(outcome=outcome, problem=result.error.kind if result.error else "", **answer_fields(result))
    if outcome not in {Outcome.ACCEPTED, Outcome.REFUSED}:
        return late
    states = [Call.State.UNKNOWN, Call.State.WAITING] if effect.repeats_unknown else [Call.State.UNKNOWN]
    call = Call.objects.filter(pk=claim.call.pk, state__in=states, attempt_count=claim.attempt.number)
    state = FINAL[Outcome(outcome)]
    return replace(late, state=state) if call.update(state=state) else late
