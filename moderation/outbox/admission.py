"""How hard and how patiently an application's calls go to GoEasy, all workers and processes together.

Slots bound the calls under way at once. The pace bounds the calls a second, reads of history included. The circuit
holds everything back while GoEasy refuses the key or fails again and again; then one call at a time is tried. The rows
are the truth here too: nothing is known of an application that another process does not see.
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

# A worker that has not renewed what it holds for so long is taken for dead (seconds).
LEASE = 30.0
# So many failures in a row open the circuit; while it is open, so often GoEasy is tried (seconds).
FAILURES_TO_OPEN = 10
PROBE_EVERY = 5.0


# Slots


def take_slots(application: Application, owner: str, *, limit: int | None = None) -> int:
    """Take what is free of the application's GOEASY_CONCURRENCY slots for `owner`, `limit` at most; return how many."""
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
    """Keep what `owner` holds for another LEASE; returns how many slots that is."""
    return CallSlot.objects.filter(held_by=owner).update(held_until=timezone.now() + timedelta(seconds=LEASE))


def release_slots(owner: str) -> None:
    """Give back what `owner` holds."""
    CallSlot.objects.filter(held_by=owner).update(held_by="", held_until=None)


def is_being_sent(application: Application) -> bool:
    """Whether somebody holds one of the application's slots."""
    return CallSlot.objects.filter(application=application, held_until__gt=timezone.now()).exclude(held_by="").exists()


# The pace


class PaceExceeded(NotSent):
    """The next call may leave only later than somebody waits for it."""

    kind = "paced"


def reserve(circuit: Circuit, calls: int) -> list[datetime]:
    """When each of the next `calls` may leave: evenly, GOEASY_MAX_CALLS_PER_SECOND of them a second.

    Inside a transaction that holds the circuit's row.
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
    """Return when the next call may leave; who waits longer leaves first.

    Raises PaceExceeded at once, and reserves nothing, when that takes longer than `patience` (seconds).
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
    """How many of `capacity` calls may be promised now: as many as leave within the next second.

    With nothing under way (`is_idle`) one at least: who reads history must not keep everything else from leaving.
    """
    per_second = settings.GOEASY_MAX_CALLS_PER_SECOND
    if not per_second:
        return capacity
    ahead = seconds_ahead(circuit)
    return max(0, min(capacity, max(int((1 - ahead) * per_second), int(is_idle or not ahead))))


# The circuit


def circuit_of(application: Application) -> Circuit:
    """The application's circuit as it stands; it is made when it is first asked for."""
    return Circuit.objects.get_or_create(application=application)[0]


def take_probe(circuit: Circuit) -> bool:
    """Whether this worker, and no other, may try GoEasy now although the circuit is open."""
    now = timezone.now()
    due = Circuit.objects.filter(Q(probe_at__isnull=True) | Q(probe_at__lte=now), pk=circuit.pk)
    return bool(due.update(probe_at=now + timedelta(seconds=PROBE_EVERY)))


def probes_by_history(circuit: Circuit) -> bool:
    """Whether an open circuit is probed by reading history, which changes nothing, before any call is sent.

    After silence a call that is sent to try would only be one more unknown, and with a refused key one more
    refusal. After a 503, or where no connection is made, the call itself may try: it surely has no effect.
    """
    return circuit.reason == Circuit.Reason.KEY_REFUSED or circuit.last_problem not in {"put_off", "not_sent"}


def probe_by_history(application: Application, target: Target) -> bool:
    """Whether GoEasy answers a read of `target`'s history with messages, or with anything but a refused key.

    Raises NotAllowed: then nothing was tried.
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
    """GoEasy told what became of a call: it is well. What waited for that need not wait any longer."""
    if not circuit.is_open and not circuit.failures:
        return
    Circuit.objects.filter(pk=circuit.pk).update(failures=0, last_problem="", opened_at=None, reason="", probe_at=None)
    now = timezone.now()
    # Not what was never tried: its time has not come yet.
    tried = Call.objects.filter(application=circuit.application_id, state=Call.State.WAITING, tries__gt=0)
    tried.filter(not_before__gt=now).update(not_before=now)


def note_failure(circuit: Circuit, error: GoEasyError) -> bool:
    """Count an error that tells of GoEasy's health; return whether the circuit is open now."""
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
        # 429 says nothing about its health; any other refusal is an answer.
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
    """Hold the application's calls back, but for a probe every PROBE_EVERY seconds."""
    now = timezone.now()
    Circuit.objects.filter(pk=circuit.pk).update(
        opened_at=circuit.opened_at or now,
        reason=reason,
        last_problem=problem,
        probe_at=now + timedelta(seconds=PROBE_EVERY),
    )
    circuit.refresh_from_db()
