"""Sending recalls: intent committed → request → outcome committed, by any number of threads and workers at once.

The rows are the truth. A batch is claimed by a conditional update that changes exactly one row, in the same
transaction that commits the attempt and its audit entry; only then the request leaves, outside any transaction.
An answer that never came leaves the outcome `unknown`, and nothing here sends an unknown one again.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from moderation.archive.models import Application
from moderation.audit.models import Action
from moderation.audit.services import record
from moderation.goeasy.client import Answer, Client
from moderation.goeasy.errors import GoEasyError, InvalidCall, NotSent, Refused
from recall.models import Recall, RecallAttempt, RecallBatch
from recall.services import call_body

log = logging.getLogger(__name__)

Outcome = RecallAttempt.Outcome
# `problem` of an attempt whose worker ended without recording an outcome.
LOST = "worker_lost"

# A call that surely had no effect is tried this often in all, waiting longer each time (seconds).
MAX_ATTEMPTS = 5
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
# How long an outcome is tried to be recorded while the database is away (seconds).
PATIENCE_WITH_DATABASE = 60.0
# Beyond both time-outs: how long a claim is believed without its outcome (seconds).
LEASE_MARGIN = 90.0

# Set when this process is told to end: nothing new is claimed, what is under way is recorded.
stopping = threading.Event()


def worker_name() -> str:
    """Names this process in claims, and in the log."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}"


def wait_before_retry(error: GoEasyError, attempts: int) -> float | None:
    """Seconds to wait before the same call is sent again, or None when it never is: the retry policy.

    Only what surely had no effect is sent again by itself: what never left, and what GoEasy put off (429, 503).
    Capped full jitter, and Retry-After where GoEasy names it.
    """
    put_off = isinstance(error, Refused) and 429 in (codes := (error.answer.code, error.answer.http_status))
    put_off = put_off or (isinstance(error, Refused) and 503 in codes)
    if attempts >= MAX_ATTEMPTS or not (put_off or isinstance(error, NotSent)):
        return None
    if isinstance(error, Refused) and error.retry_after is not None:
        return min(max(error.retry_after, 0.0), LONGEST_WAIT)
    return random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempts))  # noqa: S311 - jitter, not a secret


class Pace:
    """Spaces calls so that no more than `per_second` begin in any second; 0 sets no limit."""

    def __init__(self, per_second: float) -> None:
        self.gap = 1 / per_second if per_second else 0.0
        self.next_at = 0.0
        self.lock = threading.Lock()

    def wait(self) -> None:
        """Return when this thread's call may begin."""
        if not self.gap:
            return
        with self.lock:
            mine = max(self.next_at, time.monotonic())
            self.next_at = mine + self.gap
        time.sleep(max(0.0, mine - time.monotonic()))


_paces: dict[int, Pace] = {}


def pace_of(application: Application) -> Pace:
    """The application's pace in this process, kept from one recall to the next."""
    pace = _paces.setdefault(application.pk, Pace(settings.GOEASY_MAX_CALLS_PER_SECOND))
    pace.gap = 1 / per_second if (per_second := settings.GOEASY_MAX_CALLS_PER_SECOND) else 0.0
    return pace


@dataclass(frozen=True)
class Claim:
    """A batch that this thread may send, its intent committed."""

    recall: Recall
    batch: RecallBatch
    attempt: RecallAttempt
    timestamps: tuple[int, ...]


def send_recall(recall_id: UUID, *, worker: str = "") -> None:
    """Send what is left to send of a recall, with up to GOEASY_CONCURRENCY calls at once; returns when none is left.

    Returns at once when it is not due, called off, stopped or finished. Safe to run any number of times at once.
    """
    Recall.objects.filter(pk=recall_id, state=Recall.State.WAITING, not_before__lte=timezone.now()).update(
        state=Recall.State.SENDING
    )
    recall = Recall.objects.select_related("application", "conversation__application").get(pk=recall_id)
    if recall.state != Recall.State.SENDING:
        return
    if not recall.application.is_configured:
        stop(recall, Recall.StopReason.NOT_CONFIGURED)
        return
    worker = worker or worker_name()
    pace = pace_of(recall.application)
    with recall.application.client() as client:
        # The first call goes alone: a refused key is then refused once, not once per thread.
        pace.wait()
        if claim := claim_or_stop(recall, worker):
            send_batch(claim, client)
        left = recall.batches.filter(state=RecallBatch.State.PENDING)[: settings.GOEASY_CONCURRENCY].count()
        threads = [
            threading.Thread(target=_send_all, args=(recall, client, pace, worker), daemon=True) for _ in range(left)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    settle(recall)


def _send_all(recall: Recall, client: Client, pace: Pace, worker: str) -> None:
    """One thread's share: claim, send, record, until nothing can be claimed."""
    try:
        while not stopping.is_set():
            pace.wait()
            if claim := claim_or_stop(recall, worker):
                send_batch(claim, client)
            elif (wait := _seconds_until_due(recall)) is not None:
                stopping.wait(wait)
            else:
                return
    except Exception:
        # The lease runs out and the attempt is found open: nothing is lost, but somebody should read this.
        log.exception("recall %s: a sending thread ended early", recall.pk)
    finally:
        connection.close()


def _seconds_until_due(recall: Recall) -> float | None:
    """How long until a batch may be tried again; None when there is none to wait for."""
    due = (
        recall.batches.filter(
            state=RecallBatch.State.PENDING, next_attempt_at__isnull=False, recall__state=Recall.State.SENDING
        )
        .order_by("next_attempt_at")
        .values_list("next_attempt_at", flat=True)
        .first()
    )
    if due is None:
        return None
    # In short steps: a recall that is called off meanwhile should not keep its worker.
    return min(max((due - timezone.now()).total_seconds(), 0.02), 1.0)


def claim_or_stop(recall: Recall, worker: str) -> Claim | None:
    """`claim_next()`; a recall whose call breaks a rule of GoEasy's is stopped, so that a person sees it."""
    if stopping.is_set():
        return None
    try:
        return claim_next(recall, worker)
    except InvalidCall as problem:
        log.error("recall %s cannot be sent: %s", recall.pk, problem)
        stop(recall, Recall.StopReason.INVALID)
        return None


def claim_next(recall: Recall, worker: str) -> Claim | None:
    """Claim the next batch that may be sent and commit the intent to send it; None when there is none."""
    now = timezone.now()
    with transaction.atomic():
        candidates = recall.batches.filter(
            Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=now), state=RecallBatch.State.PENDING
        ).order_by("index")
        if connection.features.has_select_for_update_skip_locked:
            candidates = candidates.select_for_update(skip_locked=True)
        batch = candidates.first()
        if batch is None:
            return None
        lease = timedelta(seconds=settings.GOEASY_CONNECT_TIMEOUT + settings.GOEASY_READ_TIMEOUT + LEASE_MARGIN)
        claimed = RecallBatch.objects.filter(
            pk=batch.pk, state=RecallBatch.State.PENDING, recall__state=Recall.State.SENDING
        ).update(state=RecallBatch.State.SENDING, claimed_by=worker, lease_until=now + lease)
        if claimed != 1:
            # Called off, stopped, or another worker got there first.
            return None
        timestamps = tuple(batch.items.order_by("position").values_list("timestamp", flat=True))
        attempt = RecallAttempt.objects.create(
            batch=batch, number=batch.attempts.count() + 1, started_at=now, outcome=Outcome.OPEN
        )
        evidence = list(
            batch.items.filter(evidence__isnull=False).values_list(
                "timestamp", "evidence__message_id", "evidence__sha256"
            )
        )
        record(
            actor=recall.sent_for,
            action=Action.SENDING,
            app=recall.application.slug,
            conversation=recall.conversation.for_audit(),
            recall=recall.pk,
            batch=batch.index,
            attempt=attempt.number,
            timestamps=timestamps,
            request=call_body(recall.application, recall.conversation.target, timestamps, recall.recaller),
            detail={
                "worker": worker,
                "evidence": [
                    {"timestamp": timestamp, "message_id": message_id, "sha256": sha256}
                    for timestamp, message_id, sha256 in evidence
                ],
            },
        )
    return Claim(recall, batch, attempt, timestamps)


def send_batch(claim: Claim, client: Client) -> None:
    """Make the one call that `claim` committed the intent for, and commit its outcome."""
    try:
        answer = client.recall(
            target=claim.recall.conversation.target,
            timestamps=claim.timestamps,
            recaller=claim.recall.recaller,
        )
    except GoEasyError as error:
        failure = error
        surely(lambda: record_error(claim, failure))
    else:
        surely(lambda: record_outcome(claim, Outcome.ACCEPTED, RecallBatch.State.ACCEPTED, answer=answer))


def surely(record_it: Callable[[], None]) -> None:
    """Record what is known of a call even if the database goes away meanwhile: it is not known anywhere else.

    Raises what the database raises when it stays away for PATIENCE_WITH_DATABASE; the attempt is then found open.
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


def record_error(claim: Claim, error: GoEasyError) -> None:
    """Commit what an error tells of the call: refused, never left, or unknown."""
    answer = getattr(error, "answer", None)
    # Those of an earlier request, before a person asked to send again, do not count.
    attempts = claim.batch.attempts.filter(started_at__gte=claim.recall.not_before).count()
    wait = wait_before_retry(error, attempts)
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
        if isinstance(error, Refused) and {401, 403} & {error.answer.code, error.answer.http_status}:
            stop(claim.recall, Recall.StopReason.KEY_REFUSED)
        elif isinstance(error, InvalidCall):
            stop(claim.recall, Recall.StopReason.NOT_CONFIGURED)
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
    now = timezone.now()
    latency = answer.latency_ms if answer else error.latency_ms if error else None
    # An answer that broke off may have told its status.
    http_status = answer.http_status if answer else getattr(error, "http_status", None)
    with transaction.atomic():
        mine = RecallAttempt.objects.filter(pk=claim.attempt.pk, outcome=Outcome.OPEN).update(
            outcome=outcome,
            ended_at=now,
            http_status=http_status,
            response_code=answer.code if answer else None,
            response_content=answer.content if answer else "",
            latency_ms=latency,
            problem=error.kind if error else "",
        )
        if not mine:
            if RecallAttempt.objects.filter(pk=claim.attempt.pk, outcome=outcome).exclude(problem=LOST).exists():
                return  # Recorded: the database had only not said so.
            learn_late(claim, outcome, answer)
        else:
            RecallBatch.objects.filter(pk=claim.batch.pk, state=RecallBatch.State.SENDING).update(
                state=state,
                claimed_by="",
                lease_until=None,
                next_attempt_at=None if wait is None else now + timedelta(seconds=wait),
            )
        record(
            actor=claim.recall.sent_for,
            action=Action.ANSWERED if answer else Action.UNANSWERED,
            app=claim.recall.application.slug,
            conversation=claim.recall.conversation.for_audit(),
            recall=claim.recall.pk,
            batch=claim.batch.index,
            attempt=claim.attempt.number,
            timestamps=claim.timestamps,
            http_status=http_status,
            response_code=answer.code if answer else None,
            response_content=answer.content if answer else None,
            latency_ms=latency,
            detail={
                "outcome": outcome,
                **({"problem": error.kind, "message": str(error)} if error else {}),
                **({"sent_again_after_s": round(wait, 3)} if wait is not None else {}),
                # The lease had run out and the attempt was called unknown before this answer came.
                **({} if mine else {"late": True}),
            },
        )


def learn_late(claim: Claim, outcome: str, answer: Answer | None) -> None:
    """Put an answer that came after its lease had run out in the place of "unknown": nobody has sent it again."""
    if answer is None or outcome not in {Outcome.ACCEPTED, Outcome.REFUSED}:
        return
    RecallAttempt.objects.filter(pk=claim.attempt.pk, outcome=Outcome.UNKNOWN, problem=LOST).update(
        outcome=outcome,
        http_status=answer.http_status,
        response_code=answer.code,
        response_content=answer.content,
        latency_ms=answer.latency_ms,
        problem="",
    )
    final = RecallBatch.State.ACCEPTED if outcome == Outcome.ACCEPTED else RecallBatch.State.REFUSED
    RecallBatch.objects.filter(pk=claim.batch.pk, state=RecallBatch.State.UNKNOWN).update(state=final)


def stop(recall: Recall, reason: Recall.StopReason) -> None:
    """Send nothing more of the recall until a person has acted."""
    Recall.objects.filter(pk=recall.pk, state=Recall.State.SENDING).update(
        state=Recall.State.STOPPED, stop_reason=reason, finished_at=timezone.now()
    )


def settle(recall: Recall) -> None:
    """Call the recall finished when none of its batches is unsent or being sent."""
    with transaction.atomic():
        locked = Recall.objects.select_for_update(of=("self",)).get(pk=recall.pk)
        if locked.state not in {Recall.State.SENDING, Recall.State.STOPPED}:
            return
        states = RecallBatch.State
        if not locked.batches.filter(state__in=[states.PENDING, states.SENDING]).exists():
            if locked.state == Recall.State.STOPPED and locked.batches.filter(state=states.REFUSED).exists():
                return
            locked.state = Recall.State.FINISHED
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
            ).update(state=RecallBatch.State.UNKNOWN, claimed_by="", lease_until=None)
            if not taken:
                continue
            attempt = batch.attempts.filter(outcome=Outcome.OPEN).get()
            attempt.outcome = Outcome.UNKNOWN
            attempt.ended_at = timezone.now()
            attempt.problem = LOST
            attempt.save(update_fields=["outcome", "ended_at", "problem"])
            record(
                actor="system",
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
        settle(batch.recall)
    return found


def due_recalls() -> list[Recall]:
    """Recalls whose time came a while ago and that nobody is sending: a worker died, or the queue lost the task."""
    states = RecallBatch.State
    overdue = Recall.objects.filter(
        state__in=[Recall.State.WAITING, Recall.State.SENDING],
        not_before__lt=timezone.now() - timedelta(seconds=5),
    )
    return [
        recall
        for recall in overdue
        if not recall.batches.filter(state=states.SENDING).exists()
        and not recall.batches.filter(state=states.PENDING, next_attempt_at__gt=timezone.now()).exists()
    ]
