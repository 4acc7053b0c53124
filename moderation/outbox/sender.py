"""Sending calls: intent committed → request → outcome committed, by any number of threads and workers at once.

The rows are the truth. Calls are claimed by a conditional update, in the same transaction that commits their attempts
and audit entries; only then the requests leave, outside any transaction.

One thread of a sender claims and records, in few commits; as many as it has slots perform the calls. A process that is
killed may therefore leave a few claims behind whose requests had not left yet: they are called unknown like the
others, because nobody can tell them apart.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from datetime import timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from moderation.archive.models import Application
from moderation.goeasy.client import Answer
from moderation.goeasy.errors import NotAllowed
from moderation.outbox import admission, retries
from moderation.outbox.claims import BrokenCallsError, claim
from moderation.outbox.effects import Claim, StopReason, effect_of, every_effect, known_calls, stop_everything
from moderation.outbox.models import Call, CallQuerySet, Circuit
from moderation.outbox.results import record_results
from moderation.outbox.retries import retry_until_recorded
from moderation.outbox.threads import SendThreads, stopping

log = logging.getLogger(__name__)

# How often a sender says that it is alive (seconds); what it holds is believed for admission.LEASE.
RENEW_EVERY = 5.0
# How often a sender lets subjects begin that have become due (seconds).
ADVANCE_EVERY = 0.25


def worker_name() -> str:
    """Names this process in claims, and in the log."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}"


def send_due(application: Application, only: Q | None = None) -> None:
    """Send what is left to send in the application; return when nothing is, or when others are at it.

    `only`: those calls alone. What is not due, held or called off is left alone. Safe to run any number of times at
    once.
    """
    while not stopping.is_set():
        sender = Sender(application, only)
        # A sender that ended may have looked for work a moment before this call was due.
        if not sender.has_work() or not sender.run():
            return


def advance(application: Application) -> None:
    """Let everything begin whose time has come."""
    for effect in every_effect():
        effect.advance(application)


def hold_broken(calls: list[Call]) -> None:
    """Stop what calls are for that cannot be sent as they are."""
    for call in calls:
        log.error("%s cannot be sent as it is", call)
        effect = effect_of(call.effect)
        with transaction.atomic():
            effect.stop(effect.subjects([call])[call.pk], StopReason.INVALID)
            Call.objects.filter(pk=call.pk).hold()


class Sender:
    """One worker's turn at an application: claims, sends and records until nothing is left to send."""

    def __init__(self, application: Application, only: Q | None = None) -> None:
        self.application = application
        self.only = only or Q()
        self.owner = f"{worker_name()}-{secrets.token_hex(3)}"
        self.circuit = admission.circuit_of(application)
        # Calls that are claimed and not recorded yet, by id.
        self.in_hand: set[int] = set()
        self.renewed_at = self.advanced_at = 0.0
        # What is claimed is given back instead of sent.
        self.is_holding_back = False
        # This process stood still for so long that others took what it holds: nothing more may leave.
        self.is_overtaken = False
        # Whether GoEasy has accepted a call of this sender; until then they go one at a time (docs/adr/0002).
        self.has_accepted = False

    @property
    def calls(self) -> CallQuerySet:
        """The calls that this sender is for."""
        return known_calls().filter(self.only, application=self.application)

    def has_work(self) -> bool:
        """Whether anything is left to send, now or in a moment."""
        advance(self.application)
        if problem := self.application.key_problem:
            stop_everything(self.application, StopReason(problem))
            return False
        for effect in every_effect():
            effect.complete(self.application)
        return self.calls.due_or_tried(timezone.now()).exists()

    def run(self) -> bool:
        """Take the turn; False when others hold all the slots."""
        self.renewed_at = time.monotonic()
        with self.application.client() as client:
            self.threads = SendThreads(client, self.may_send)
            if not self.take_slots():
                return False
            try:
                self.claim_and_record()
            finally:
                self.threads.close()
                retry_until_recorded(lambda: admission.release_slots(self.owner))
        return True

    def take_slots(self) -> int:
        """Take the slots that are free, a thread for each, and return how many this sender has now."""
        self.threads.start(admission.take_slots(self.application, self.owner))
        return self.slots

    @property
    def slots(self) -> int:
        return len(self.threads.threads)

    def may_send(self) -> bool:
        """Whether what is claimed may still leave."""
        is_leased = time.monotonic() <= self.renewed_at + admission.LEASE - RENEW_EVERY
        return is_leased and not self.is_holding_back and not self.is_ending

    @property
    def is_ending(self) -> bool:
        """Whether nothing new is claimed any more."""
        return self.is_overtaken or stopping.is_set()

    @property
    def capacity(self) -> int:
        """How many more calls to claim: those under way, and as many ready to follow them at once."""
        return 0 if self.is_ending else 2 * self.slots - len(self.in_hand)

    def claim_and_record(self) -> None:
        """Claim and record until nothing is left to send, or the process is told to end."""
        has_more = True
        while True:
            if self.in_hand:
                # A result is waited for when there is no capacity, or nothing more to claim.
                self.record(patience=0 if has_more and self.capacity else 0.25)
            self.renew()
            if capacity := self.capacity:
                claims = self.claim_patiently(capacity)
                has_more = len(claims) == capacity
                for each in claims:
                    self.threads.ready.put(each)
            if not self.in_hand and (self.is_ending or not self.wait_for_more()):
                return

    def record(self, *, patience: float) -> None:
        """Record the results that have come."""
        if results := self.threads.collect_results(len(self.in_hand), patience):
            retry_until_recorded(lambda: record_results(self.circuit, results))
            self.has_accepted = self.has_accepted or any(isinstance(result, Answer) for _claim, result in results)
            self.in_hand -= {each.call.pk for each, _result in results}

    def renew(self) -> None:
        """Say that this sender is alive, when it is time to, and take slots that others have given back."""
        if time.monotonic() - self.renewed_at < RENEW_EVERY:
            return
        now = time.monotonic()

        def keeps_all() -> bool:
            slots = admission.renew_slots(self.owner)
            # Only what this sender knows that it holds: a commit of which the answer was lost is not kept alive.
            held = Call.objects.filter(pk__in=self.in_hand, claimed_by=self.owner, state=Call.State.SENDING)
            lease_until = timezone.now() + timedelta(seconds=admission.LEASE)
            return held.update(lease_until=lease_until) == len(self.in_hand) and slots >= self.slots

        if not retry_until_recorded(keeps_all):
            self.is_overtaken = True
            log.warning("worker %s: others took what it held while it stood still", self.owner)
            return
        self.renewed_at = now
        if self.slots < settings.GOEASY_CONCURRENCY:
            self.take_slots()

    def claim_patiently(self, capacity: int) -> list[Claim]:
        """`claim()`, or nothing while the database is away."""
        try:
            return self.claim(capacity)
        except (OperationalError, InterfaceError):
            log.warning("the database is away; nothing is claimed")
            connection.close()
            if self.in_hand:
                time.sleep(0.5)
            else:
                # Nothing is under way that would tell how long it stays away.
                self.wait_for_database()
            return []

    def wait_for_database(self) -> None:
        """Return when the database answers. Raises what it raises after DATABASE_PATIENCE."""
        deadline = time.monotonic() + retries.DATABASE_PATIENCE
        while not stopping.wait(0.5):
            try:
                self.calls.exists()
                return
            except (OperationalError, InterfaceError):
                connection.close()
                if time.monotonic() > deadline:
                    raise

    def claim(self, capacity: int) -> list[Claim]:
        """Claim at most `capacity` calls and commit the intent to send them."""
        if time.monotonic() - self.advanced_at > ADVANCE_EVERY:
            self.advanced_at = time.monotonic()
            advance(self.application)
        if self.circuit.is_open:
            self.circuit = admission.circuit_of(self.application)
        is_probe = self.circuit.is_open and self.may_probe()
        self.is_holding_back = self.circuit.is_open and not is_probe
        if is_probe:
            capacity = 1
        elif self.is_holding_back:
            return []
        elif not self.has_accepted:
            # A refused key is then refused once, not once per thread.
            capacity = 0 if self.in_hand else 1
        if not capacity:
            return []
        try:
            claims = self.claim_in_transaction(capacity, is_probe)
        except BrokenCallsError as problem:
            hold_broken(problem.calls)
            return []
        self.in_hand |= {each.call.pk for each in claims}
        return claims

    def claim_in_transaction(self, capacity: int, is_probe: bool) -> list[Claim]:
        """`claims.claim()` within the circuit and the pace."""
        with transaction.atomic():
            self.circuit = Circuit.objects.select_for_update().get(pk=self.circuit.pk)
            if self.circuit.is_open and not is_probe:
                return []
            capacity = admission.capacity_of_pace(self.circuit, capacity, is_idle=not self.in_hand)
            if not capacity:
                return []
            return claim(self.circuit, self.calls.in_turn(timezone.now()), capacity, self.owner, self.application)

    def may_probe(self) -> bool:
        """Whether one call may try an open circuit now. Stops everything when the key is still refused."""
        call = None if self.in_hand else self.calls.in_turn(timezone.now()).first()
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
            # The call itself is not sent either: it stops what it is for and says why.
            return True
        if self.circuit.reason == Circuit.Reason.KEY_REFUSED:
            stop_everything(self.application, StopReason.KEY_REFUSED)
        return False

    def wait_for_more(self) -> bool:
        """Wait a little for a call that is to be sent later; False when there is none."""
        if not self.has_work():
            return False
        waiting = self.calls.due_or_tried(timezone.now()).order_by("not_before")
        next_at = waiting.values_list("not_before", flat=True).first()
        seconds = (next_at - timezone.now()).total_seconds() if next_at else 0.0
        # In short steps: what is called off meanwhile should not keep its worker.
        stopping.wait(min(max(seconds, 0.5 if self.circuit.is_open else 0.02), 1.0))
        return True
