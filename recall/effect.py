"""Recalls as an effect of the outbox: what each outcome of a call means for its batch, and how it is recorded."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from moderation.applications.models import Application
from moderation.audit.events import Event
from moderation.audit.request_context import COMMAND_LINE, WORKER
from moderation.goeasy.client import Answer, Target
from moderation.outbox import sender
from moderation.outbox.effects import Claim, Effect, Result, StopReason
from moderation.outbox.models import LOST, RESTORED, Call
from recall import lifecycle
from recall.events import CallAnswered, CallSending, CallUnanswered
from recall.models import UNSENT, Evidence, Recall, RecallBatch
from recall.restored import stop_unfinished

States = RecallBatch.State
Settlement = RecallBatch.Settlement

# The batch's state for each state of its call: a batch does not distinguish waiting from held.
STATE_OF_BATCH = {state.value: state.value for state in States} | {
    Call.State.WAITING.value: States.PENDING.value,
    Call.State.HELD.value: States.PENDING.value,
}
# Actor of the audit entry when no worker recorded an outcome.
ACTORS = {LOST: WORKER, RESTORED: COMMAND_LINE}


class RecallEffect(Effect):
    """Taking messages back. A call's subject is its batch; both have one key."""

    name = "recall"
    # History or a person settles whether an unknown recall took effect (docs/adr/0011).
    repeats_unknown = False

    def subjects(self, calls: Sequence[Call]) -> Mapping[int, RecallBatch]:
        batches = RecallBatch.objects.select_related("recall__conversation").in_bulk([call.pk for call in calls])
        for call in calls:
            batches[call.pk].recall.application = call.application
        return batches

    def intents(self, claims: Sequence[Claim], requests: Sequence[dict[str, Any]]) -> list[Event]:
        pks = [claim.call.pk for claim in claims]
        RecallBatch.objects.filter(pk__in=pks, state=States.PENDING).update(state=States.SENDING)
        evidence = evidence_of(pks)
        return [
            CallSending(**about(claim), request=request, worker=claim.call.claimed_by, evidence=evidence[claim.call.pk])
            for claim, request in zip(claims, requests, strict=True)
        ]

    def outcomes(self, results: Sequence[Result]) -> list[Event]:
        changes: dict[tuple[bool, str, bool, bool], list[int]] = defaultdict(list)
        for result in results:
            if result.state is not None:
                state, answer = STATE_OF_BATCH[result.state], result.answer
                change = (result.is_late, state, is_read_for(state, answer), is_unusual(state, answer))
                changes[change].append(result.claim.call.pk)
        for (is_late, state, is_read, unusual), pks in changes.items():
            batches = RecallBatch.objects.filter(pk__in=pks, state=States.UNKNOWN if is_late else States.SENDING)
            application = results[0].claim.call.application
            looks = {} if is_late else {"checks": 0}
            batches.update(state=state, **looks, **follow_up(application, is_read, unusual))
        return [outcome_event(result) for result in results]

    def conclude(self, subjects: Sequence[RecallBatch]) -> None:
        lifecycle.finish_done({batch.recall_id for batch in subjects})

    def standing(self, claim: Claim) -> str:
        # Lock the recall, so that it is not cancelled at the same time.
        recall = Recall.objects.select_for_update().get(pk=claim.subject.recall_id)
        if recall.batches.filter(state=States.CANCELLED).exists():
            return Call.State.CANCELLED
        return Call.State.HELD if recall.state == Recall.State.STOPPED else Call.State.WAITING

    def stop(self, subject: RecallBatch, reason: StopReason) -> None:
        lifecycle.stop(subject.recall, Recall.StopReason(reason))

    def stop_all(self, application: Application, reason: StopReason) -> None:
        lifecycle.stop_all(application, Recall.StopReason(reason))

    def advance(self, application: Application) -> None:
        waiting = Recall.objects.filter(application=application, state=Recall.State.WAITING)
        waiting.filter(not_before__lte=timezone.now()).update(state=Recall.State.SENDING)

    def complete(self, application: Application) -> None:
        sending = Recall.objects.filter(application=application, state=Recall.State.SENDING)
        lifecycle.finish_done(sending.exclude(batches__state__in=UNSENT).values_list("pk", flat=True))

    def probe_target(self, subject: RecallBatch) -> Target:
        return subject.recall.conversation.target

    def restored(self, calls: Sequence[Call], lost: Sequence[Result]) -> dict[str, int]:
        return {"recalls_stopped": stop_unfinished([outcome_event(result) for result in lost])}


def send_now(recall: Recall) -> None:
    """Send the rest of one recall from this process; return when nothing is left, or when other workers send it."""
    sender.send_due(recall.application, only=Q(recall_batch__recall=recall.pk))


def evidence_of(batches: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """The evidence of each of `batches` (ids) as the audit log has it, in the order of its timestamps.

    Evidence that is older than commitments is identified by its bare hash.
    """
    rows = (
        Evidence.objects.filter(item__batch__in=batches)
        .order_by("item__position", "pk")
        .values_list("item__batch", "item__timestamp", "message_id", "commitment", "sha256")
    )
    evidence: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for batch, timestamp, message_id, commitment, sha256 in rows:
        # Both are empty once the text was erased on request.
        if commitment or sha256:
            proof = {"commitment": commitment} if commitment else {"sha256": sha256}
            evidence[batch].append({"timestamp": timestamp, "message_id": message_id, **proof})
    return evidence


def about(claim: Claim) -> dict[str, Any]:
    """The fields of every audit event about an attempt."""
    batch = claim.subject
    return {
        "actor": batch.recall.sent_for,
        **batch.recall.for_audit(),
        "batch": batch.index,
        "attempt": claim.attempt.number,
        "timestamps": json.loads(claim.call.body).get("messages"),
    }


def outcome_event(result: Result) -> CallAnswered | CallUnanswered:
    """The audit event of an attempt's outcome."""
    answer, error = result.answer, result.error
    fields = about(result.claim) | {
        "http_status": result.http_status,
        "latency_ms": result.latency_ms,
        "outcome": result.outcome,
        "problem": result.problem or (error.kind if error else None),
        "message": str(error) if error else None,
        "sent_again_after_s": None if result.wait is None else round(result.wait, 3),
        # The lease had run out and the attempt was called unknown before this answer came.
        "late": result.is_late,
    }
    if result.problem:
        fields["actor"] = ACTORS[result.problem]
    if answer is None:
        return CallUnanswered(**fields, worker=result.lost_by or None)
    return CallAnswered(
        **fields,
        response_code=answer.code,
        response_content=answer.content,
        unusual=answer.accepted and not answer.is_usual,
    )


def is_unusual(state: str, answer: Answer | None) -> bool:
    """Whether an accepted call has an unusual answer: it may name messages that were not taken back."""
    return state == States.ACCEPTED and answer is not None and not answer.is_usual


def is_read_for(state: str, answer: Answer | None) -> bool:
    """Whether to read history for the messages of a batch that came to `state` with `answer`."""
    if state == States.ACCEPTED:
        return settings.RECALL_VERIFY or is_unusual(state, answer)
    # A refused key rules out an effect; any other refusal does not.
    return state == States.UNKNOWN or (state == States.REFUSED and not (answer and answer.refuses_key))


def follow_up(application: Application, is_read: bool, unusual: bool) -> dict[str, Any]:
    """The batch fields for its verification: when history is read, and whether the answer is unusual."""
    at = timezone.now() + timedelta(seconds=application.verify_after) if is_read else None
    return {"check_at": at, "settlement": Settlement.UNUSUAL if unusual else ""}
