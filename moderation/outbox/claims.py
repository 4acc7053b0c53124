"""Claiming calls: the intent to send them is committed, with its audit entries, before anything leaves."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from itertools import groupby

from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from moderation.applications.models import Application
from moderation.audit.services import record_all
from moderation.goeasy.errors import NotAllowed
from moderation.outbox import admission
from moderation.outbox.effects import Claim, StopReason, effect_of, every_effect, known_calls, stop_everything
from moderation.outbox.models import Attempt, Call, CallQuerySet, Circuit

log = logging.getLogger(__name__)

# Interval at which due subjects begin while calls are claimed (seconds).
ADVANCE_EVERY = 0.25


class BrokenCallsError(Exception):
    """Stored calls are malformed and cannot be sent, for example after a manual change."""

    def __init__(self, calls: list[Call]) -> None:
        super().__init__(f"{len(calls)} calls cannot be sent as they are")
        self.calls = calls


class Claimer:
    """Claims calls of an application for one owner, within the limits of circuit and pace."""

    def __init__(self, application: Application, owner: str, only: Q | None = None) -> None:
        self.application = application
        self.owner = owner
        self.only = only or Q()
        self.circuit = admission.circuit_of(application)
        self.advanced_at = 0.0
        # Claimed calls are given back instead of sent.
        self.is_holding_back = False
        # Whether GoEasy has accepted a call of this owner; until then they go one at a time (docs/adr/0002).
        self.has_accepted = False

    @property
    def calls(self) -> CallQuerySet:
        """The calls that this claimer may claim."""
        return known_calls().filter(self.only, application=self.application)

    def claim(self, capacity: int, *, is_idle: bool) -> list[Claim]:
        """Claim at most `capacity` calls and commit the intent to send them. `is_idle`: nothing is under way."""
        if time.monotonic() - self.advanced_at > ADVANCE_EVERY:
            self.advanced_at = time.monotonic()
            advance(self.application)
        if self.circuit.is_open:
            self.circuit = admission.circuit_of(self.application)
        is_probe = self.circuit.is_open and is_idle and self.may_probe()
        self.is_holding_back = self.circuit.is_open and not is_probe
        if is_probe:
            capacity = 1
        elif self.is_holding_back:
            return []
        elif not self.has_accepted:
            # A refused key is then refused once, not once per thread.
            capacity = int(is_idle)
        if not capacity:
            return []
        try:
            return self.claim_admitted(capacity, is_idle=is_idle, is_probe=is_probe)
        except BrokenCallsError as problem:
            hold_broken(problem.calls)
            return []

    def claim_admitted(self, capacity: int, *, is_idle: bool, is_probe: bool) -> list[Claim]:
        """Claim at most `capacity` calls, within the limits of circuit and pace."""
        with transaction.atomic():
            self.circuit = Circuit.objects.select_for_update().get(pk=self.circuit.pk)
            if self.circuit.is_open and not is_probe:
                return []
            capacity = admission.capacity_of_pace(self.circuit, capacity, is_idle=is_idle)
            if not capacity:
                return []
            return claim_rows(self.circuit, self.calls.in_turn(timezone.now()), capacity, self.owner, self.application)

    def may_probe(self) -> bool:
        """Whether one call may probe an open circuit now. Stops everything when the key is still refused."""
        call = self.calls.in_turn(timezone.now()).first()
        if call is None or not admission.take_probe(self.circuit):
            return False
        effect = effect_of(call.effect)
        target = effect.probe_target(effect.subjects([call])[call.pk])
        try:
            if target is None or not admission.probes_by_history(self.circuit):
                return True
            if admission.probe_by_history(self.application, target):
                return True
        except NotAllowed:
            # Let the call try: it is not sent either, and its error stops its subject with the reason.
            return True
        if self.circuit.reason == Circuit.Reason.KEY_REFUSED:
            stop_everything(self.application, StopReason.KEY_REFUSED)
        return False


def claim_rows(
    circuit: Circuit, waiting: CallQuerySet, capacity: int, owner: str, application: Application
) -> list[Claim]:
    """Claim at most `capacity` of the calls `waiting` for `owner` and write the intent to send them.

    All belong to `application`. Inside a transaction that holds the circuit's row. Raises BrokenCallsError.
    """
    if connection.features.has_select_for_update_skip_locked:
        waiting = waiting.select_for_update(skip_locked=True, of=("self",))
    calls = list(waiting[:capacity])
    if broken := [call for call in calls if not call.prepared.is_sound]:
        raise BrokenCallsError(broken)
    if not calls:
        return []
    now = timezone.now()
    lease_until = now + timedelta(seconds=admission.LEASE)
    claimed = Call.objects.filter(pk__in=[call.pk for call in calls], state=Call.State.WAITING).update(
        state=Call.State.SENDING,
        claimed_by=owner,
        lease_until=lease_until,
        attempt_count=F("attempt_count") + 1,
        tries=F("tries") + 1,
    )
    if claimed != len(calls):
        # Cannot happen while the rows are locked; a safeguard.
        transaction.set_rollback(True)
        return []
    appkey = application.appkey()
    for call in calls:
        call.application = application
        call.state, call.claimed_by, call.lease_until = Call.State.SENDING, owner, lease_until
        call.attempt_count += 1
        call.tries += 1
    attempts = Attempt.objects.bulk_create(
        Attempt(call=call, number=call.attempt_count, started_at=now) for call in calls
    )
    times = admission.reserve(circuit, len(calls))
    claims: list[Claim] = []
    entries = []
    in_turn = zip(calls, attempts, times, strict=True)
    for name, of_one_effect in groupby(in_turn, key=lambda each: each[0].effect):
        some = list(of_one_effect)
        effect = effect_of(name)
        subjects = effect.subjects([call for call, _attempt, _at in some])
        mine = [Claim(call, attempt, subjects[call.pk], at) for call, attempt, at in some]
        entries += effect.intents(mine, [each.call.prepared.shown(appkey) for each in mine])
        claims += mine
    record_all(entries)
    return claims


def advance(application: Application) -> None:
    """Let the due subjects of all effects begin."""
    for effect in every_effect():
        effect.advance(application)


def hold_broken(calls: list[Call]) -> None:
    """Hold malformed calls and stop their subjects."""
    for call in calls:
        log.error("%s cannot be sent as it is", call)
        effect = effect_of(call.effect)
        with transaction.atomic():
            effect.stop(effect.subjects([call])[call.pk], StopReason.INVALID)
            Call.objects.filter(pk=call.pk).hold()
