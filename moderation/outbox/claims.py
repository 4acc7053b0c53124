"""Claiming calls: the intent to send them is committed, with its audit entries, before anything leaves."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from moderation.archive.models import Application
from moderation.audit.services import record_all
from moderation.outbox import admission
from moderation.outbox.effects import Claim, effect_of
from moderation.outbox.models import Attempt, Call, CallQuerySet, Circuit


class BrokenCallsError(Exception):
    """Calls that cannot be sent as they are kept: somebody changed them by hand."""

    def __init__(self, calls: list[Call]) -> None:
        super().__init__(f"{len(calls)} calls cannot be sent as they are")
        self.calls = calls


def claim(circuit: Circuit, waiting: CallQuerySet, capacity: int, owner: str, application: Application) -> list[Claim]:
    """Claim at most `capacity` of the calls `waiting` for `owner` and commit the intent to send them.

    All are of `application`. Inside a transaction that holds the circuit's row. Raises BrokenCallsError.
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
        # Neither engine lets that happen: the rows are locked.
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
