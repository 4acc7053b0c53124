"""Sending calls: intent committed → request → outcome committed, by any number of threads and workers at once.

The database holds all state. Calls are claimed by a conditional update, in the same transaction that commits their
attempts and audit entries; only then the requests leave, outside any transaction.

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
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Q
from django.utils import timezone

from moderation.applications.models import Application
from moderation.goeasy.client import Answer
from moderation.goeasy.errors import GoEasyError
from moderation.outbox import admission, retries
from moderation.outbox.claims import Claimer, advance
from moderation.outbox.effects import Claim, StopReason, every_effect, stop_everything
from moderation.outbox.models import Call, CallQuerySet
from moderation.outbox.results import record_results
from moderation.outbox.retries import retry_until_recorded
from moderation.outbox.threads import SendThreads, stopping

log = logging.getLogger(__name__)

# Interval at which a sender renews its leases (seconds); each lasts admission.LEASE.
RENEW_EVERY = 5.0


def worker_name() -> str:
    """Name of this process in claims and in the log."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}"


def send_due(application: Application, only: Q | None = None) -> None:
    """Send the application's due calls; return when none is left, or when other workers hold all slots.

    `only`: restrict to those calls. Calls that are not due, held or cancelled stay as they are. Safe to run several
    times at once.
    """
    while not stopping.is_set():
        sender = Sender(application, only)
        # Look again: a call may have become due just after the last check.
        if not sender.has_work() or not sender.run():
            return


class Sender:
    """One worker's turn at an application: claims, sends and records until nothing is left to send."""

    def __init__(self, application: Application, only: Q | None = None) -> None:
        self.application = application
        self.owner = f"{worker_name()}-{secrets.token_hex(3)}"
        self.claimer = Claimer(application, self.owner, only or Q())
        # Calls that are claimed and not recorded yet, by id.
        self.in_hand: set[int] = set()
        self.renewed_at = 0.0
        # This process stalled for so long that others took over its leases: nothing more may leave.
        self.is_overtaken = False

    def has_work(self) -> bool:
        """Whether anything is left to send, now or soon."""
        advance(self.application)
        if problem := self.application.key_problem:
            stop_everything(self.application, StopReason(problem))
            return False
        for effect in every_effect():
            effect.complete(self.application)
        return self.claimer.calls.due_or_tried(timezone.now()).exists()

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
        """Take free slots, start a thread for each, and return the number of slots held now."""
        self.threads.start(admission.take_slots(self.application, self.owner))
        return self.slots

    @property
    def slots(self) -> int:
        return len(self.threads.threads)

    def may_send(self) -> bool:
        """Whether claimed calls may still leave."""
        is_leased = time.monotonic() <= self.renewed_at + admission.LEASE - RENEW_EVERY
        return is_leased and not self.claimer.is_holding_back and not self.is_ending

    @property
    def is_ending(self) -> bool:
        """Whether this sender claims nothing more."""
        return self.is_overtaken or stopping.is_set()

    def capacity(self, finished: int = 0) -> int:
        """Number of calls to claim: two per slot, one to send and one ready to follow it.

        `finished`: how many of those in hand need no thread any more.
        """
        return 0 if self.is_ending else 2 * self.slots - len(self.in_hand) + finished

    def claim_and_record(self) -> None:
        """Claim and record until nothing is left to send or the process is stopping."""
        has_more = True
        while True:
            # Wait for a result only when nothing can be claimed.
            patience = 0 if has_more and self.capacity() else 0.25
            results = self.threads.collect_results(len(self.in_hand), patience) if self.in_hand else []
            if not all(isinstance(result, Answer) for _claim, result in results):
                # What failed may close the circuit, or stop a recall: nothing is claimed before that is known.
                self.record(results)
                results = []
            self.renew()
            if capacity := self.capacity(len(results)):
                claims = self.claim_patiently(capacity)
                has_more = len(claims) == capacity
                for each in claims:
                    self.threads.ready.put(each)
            # After claiming, so that no thread is idle meanwhile.
            self.record(results)
            if not self.in_hand and (self.is_ending or not self.wait_for_more()):
                return

    def record(self, results: list[tuple[Claim, Answer | GoEasyError]]) -> None:
        """Record the outcomes of calls."""
        if not results:
            return
        retry_until_recorded(lambda: record_results(self.claimer.circuit, results))
        self.claimer.has_accepted = self.claimer.has_accepted or any(
            isinstance(result, Answer) for _claim, result in results
        )
        self.in_hand -= {each.call.pk for each, _result in results}

    def renew(self) -> None:
        """Renew the leases when it is time, and take slots that others have released."""
        if time.monotonic() - self.renewed_at < RENEW_EVERY:
            return
        now = time.monotonic()

        def keeps_all() -> bool:
            slots = admission.renew_slots(self.owner)
            # Only calls that this sender knows of: claims whose commit seemed to fail must expire.
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
        """Claim at most `capacity` calls, or none while the database is unreachable."""
        try:
            claims = self.claimer.claim(capacity, is_idle=not self.in_hand)
        except (OperationalError, InterfaceError):
            log.warning("the database is away; nothing is claimed")
            connection.close()
            if self.in_hand:
                time.sleep(0.5)
            else:
                # Nothing is under way, so only the database itself can show when it is back.
                wait_for_database(self.claimer.calls)
            return []
        self.in_hand |= {each.call.pk for each in claims}
        return claims

    def wait_for_more(self) -> bool:
        """Wait briefly for a call that is due later; False when there is none."""
        if not self.has_work():
            return False
        waiting = self.claimer.calls.due_or_tried(timezone.now()).order_by("not_before")
        next_at = waiting.values_list("not_before", flat=True).first()
        seconds = (next_at - timezone.now()).total_seconds() if next_at else 0.0
        # Wait in short steps, so that a cancelled call does not occupy its worker.
        stopping.wait(min(max(seconds, 0.5 if self.claimer.circuit.is_open else 0.02), 1.0))
        return True


def wait_for_database(calls: CallQuerySet) -> None:
    """Wait until the database answers. Raises its error after DATABASE_PATIENCE."""
    deadline = time.monotonic() + retries.DATABASE_PATIENCE
    while not stopping.wait(0.5):
        try:
            calls.exists()
            return
        except (OperationalError, InterfaceError):
            connection.close()
            if time.monotonic() > deadline:
                raise
