"""Limits on an application's calls to GoEasy, shared by all workers and processes.

Slots bound concurrent calls. The pace bounds calls per second, reads of history included. The circuit holds everything
back while GoEasy refuses the key or keeps failing, except for one probe at a time. All state is in the database, so
every process sees the same.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from moderation.applications.models import Application
from moderation.goeasy.client import Target
from moderation.goeasy.errors import GoEasyError, NoAnswer, NotAllowed, NotSent, Refused
from moderation.outbox.models import Call, CallSlot, Circuit

# A worker that has not renewed its slots and claims for this long is considered dead (seconds).
LEASE = 30.0
# Failures in a row that open the circuit, and the interval between probes while it is open (seconds).
FAILURES_TO_OPEN = 10
PROBE_EVERY = 5.0


# Slots


def take_slots(application: Application, owner: str, *, limit: int | None = None) -> int:
    """Take free slots of the application for `owner`, at most `limit`; return their number."""
    if CallSlot.objects.filter(application=application).count() < settings.GOEASY_CONCURRENCY:
        CallSlot.objects.bulk_create(
            [CallSlot(application=application, number=number) for number in range(settings.GOEASY_CONCURRENCY)],
            ignore_conflicts=True,
        )
    now = timezone.now()
    free = CallSlot.objects.filter(
        Q(held_by="") | Q(held_until__lt=now), application=application, number__lt=settings.GOEASY_CONCURRENCY
    )
    if limit is not None:
        free = free.filter(number__in=list(free.order_by("-number").values_list("number", flat=True)[:limit]))
    return free.update(held_by=owner, held_until=now + timedelta(seconds=LEASE))


def renew_slots(owner: str) -> int:
    """Renew the slots of `owner` for another LEASE; return their number."""
    return CallSlot.objects.filter(held_by=owner).update(held_until=timezone.now() + timedelta(seconds=LEASE))


def release_slots(owner: str) -> None:
    """Release the slots of `owner`."""
    CallSlot.objects.filter(held_by=owner).update(held_by="", held_until=None)


def is_being_sent(application: Application) -> bool:
    """Whether any of the application's slots is held."""
    return CallSlot.objects.filter(application=application, held_until__gt=timezone.now()).exclude(held_by="").exists()


# The pace


class PaceExceeded(NotSent):
    """The next call may leave only later than the caller is willing to wait."""

    kind = "paced"


def reserve(circuit: Circuit, calls: int) -> list[datetime]:
    """Reserve a time to leave for each of `calls`, spread evenly at GOEASY_MAX_CALLS_PER_SECOND.

    Call it inside a transaction that holds the circuit's row.
    """
    now = timezone.now()
    if not settings.GOEASY_MAX_CALLS_PER_SECOND:
        return [now] * calls
    gap = timedelta(seconds=1 / settings.GOEASY_MAX_CALLS_PER_SECOND)
    first = max(circuit.call_at or now, now)
    circuit.call_at = first + calls * gap
    circuit.save(update_fields=["call_at"])
    return [first + number * gap for number in range(calls)]


def wait_for_pace(application: Application, *, patience: float | None = None) -> None:
    """Wait until the next call may leave, in the order of the callers.

    Raises PaceExceeded at once, and reserves nothing, when that would take longer than `patience` (seconds).
    """
    if not settings.GOEASY_MAX_CALLS_PER_SECOND:
        return
    circuit = circuit_of(application)
    with transaction.atomic():
        circuit = Circuit.objects.select_for_update().get(pk=circuit.pk)
        if patience is not None and seconds_ahead(circuit) > patience:
            raise PaceExceeded("The calls of the next seconds are promised to others.")
        (at,) = reserve(circuit, 1)
    time.sleep(max(0.0, (at - timezone.now()).total_seconds()))


def seconds_ahead(circuit: Circuit) -> float:
    """Seconds until the next call that nobody has reserved may leave; 0 when it may now."""
    now = timezone.now()
    return max(0.0, ((circuit.call_at or now) - now).total_seconds())


def capacity_of_pace(circuit: Circuit, capacity: int, *, is_idle: bool) -> int:
    """Number of calls, at most `capacity`, that may be reserved now: those that leave within the next second.

    At least one when nothing is under way (`is_idle`), so that reads of history do not starve the sender.
    """
    per_second = settings.GOEASY_MAX_CALLS_PER_SECOND
    if not per_second:
        return capacity
    ahead = seconds_ahead(circuit)
    return max(0, min(capacity, max(int((1 - ahead) * per_second), int(is_idle or not ahead))))


# The circuit


def circuit_of(application: Application) -> Circuit:
    """The application's circuit; created on first use."""
    return Circuit.objects.get_or_create(application=application)[0]


def take_probe(circuit: Circuit) -> bool:
    """Claim the next probe of an open circuit; False when it is not due or another worker has it."""
    now = timezone.now()
    due = Circuit.objects.filter(Q(probe_at__isnull=True) | Q(probe_at__lte=now), pk=circuit.pk)
    return bool(due.update(probe_at=now + timedelta(seconds=PROBE_EVERY)))


def probes_by_history(circuit: Circuit) -> bool:
    """Whether an open circuit is probed by reading history, which changes nothing, before any call is sent.

    After a time-out a call sent as a probe might become one more unknown outcome, and with a refused key one more
    refusal. After a 503, or without a connection, the call itself can probe: it has no effect.
    """
    return circuit.reason == Circuit.Reason.KEY_REFUSED or circuit.last_problem not in {"put_off", "not_sent"}


def probe_by_history(application: Application, target: Target) -> bool:
    """Read `target`'s history as a probe; return whether GoEasy answered, and neither refused the key nor with 503.

    Raises NotAllowed, and then makes no request.
    """
    try:
        wait_for_pace(application, patience=PROBE_EVERY)
        with application.client(read_timeout=PROBE_EVERY) as client:
            client.history(target=target, limit=1)
    except Refused as refusal:
        return not (refusal.answer.refuses_key or refusal.number == 503)
    except NotAllowed:
        raise
    except GoEasyError:
        return False
    return True


def note_answer(circuit: Circuit) -> None:
    """Close the circuit after an answer, and let calls that waited for a retry leave at once."""
    if not circuit.is_open and not circuit.failures:
        return
    Circuit.objects.filter(pk=circuit.pk).update(failures=0, last_problem="", opened_at=None, reason="", probe_at=None)
    now = timezone.now()
    # Only calls that were tried before: the others are not due yet.
    tried = Call.objects.filter(application=circuit.application_id, state=Call.State.WAITING, tries__gt=0)
    tried.filter(not_before__gt=now).update(not_before=now)


def note_failure(circuit: Circuit, error: GoEasyError) -> bool:
    """Count an error against GoEasy's health; return whether the circuit is open now."""
    refusal = error if isinstance(error, Refused) else None
    if refusal and refusal.answer.refuses_key:
        open_circuit(circuit, Circuit.Reason.KEY_REFUSED, "refused")
        return True
    if refusal and refusal.number == 503:
        problem = "put_off"
    elif isinstance(error, NotSent):
        problem = "not_sent"
    elif isinstance(error, NoAnswer):
        problem = error.kind
    else:
        # 429 says nothing about GoEasy's health; any other refusal is an answer.
        if not (refusal and refusal.number == 429):
            note_answer(circuit)
        return circuit.is_open
    row = Circuit.objects.filter(pk=circuit.pk)
    row.update(failures=F("failures") + 1, last_problem=problem)
    circuit.refresh_from_db()
    if circuit.failures >= FAILURES_TO_OPEN and not circuit.is_open:
        open_circuit(circuit, Circuit.Reason.FAILING, problem)
    return circuit.is_open


def open_circuit(circuit: Circuit, reason: Circuit.Reason, problem: str) -> None:
    """Open the circuit: hold the application's calls back, except for a probe every PROBE_EVERY seconds."""
    now = timezone.now()
    Circuit.objects.filter(pk=circuit.pk).update(
        opened_at=circuit.opened_at or now,
        reason=reason,
        last_problem=problem,
        probe_at=now + timedelta(seconds=PROBE_EVERY),
    )
    circuit.refresh_from_db()
