"""Sending recalls: intent committed → request → outcome committed, by any number of threads and workers at once.

The rows are the truth. Batches are claimed by a conditional update, in the same transaction that commits their
attempts and audit entries; only then the requests leave, outside any transaction. An answer that never came leaves
the outcome `unknown`, and nothing here sends an unknown one again.

One thread of a turn keeps the books, in few commits; as many as there are slots only speak to GoEasy. A process that
is killed may therefore leave a few claims behind whose requests had not left yet: they are called unknown like the
others, because nobody can tell them apart.
"""

from __future__ import annotations

import logging
import os
import queue
import secrets
import socket
import threading
import time
from collections import defaultdict
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from moderation.applications.models import Application
from moderation.audit.models import Action, AuditEntry
from moderation.audit.services import entry, record_all
from moderation.goeasy.client import Answer, Client
from moderation.goeasy.errors import GoEasyError, InvalidCall, NoAnswer, NotAllowed
from recall import limits
from recall.models import Circuit, Recall, RecallAttempt, RecallBatch, RecallItem
from recall.outcomes import (
    PATIENCE_WITH_DATABASE,
    UNSENT,
    Claim,
    Withdrawn,
    record_results,
    settle,
    stop,
    stop_all,
    surely,
)
from recall.services import call_body

log = logging.getLogger(__name__)

# How often a turn says that it is alive (seconds); what it holds is believed for limits.LEASE.
RENEW_EVERY = 5.0
# How often a turn looks for recalls that have become due (seconds).
BEGIN_EVERY = 0.25
# Outcomes that come within this time are recorded in one commit (seconds).
GATHER = 0.015

# Set when this process is told to end: nothing new is claimed, what is under way is recorded.
stopping = threading.Event()


def worker_name() -> str:
    """Names this process in claims, and in the log."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}"


def send_recall(recall_id: UUID, *, only: bool = False) -> None:
    """Send what is left to send in the recall's application; return when nothing is, or when others are at it.

    `only`: of this recall alone. What is not due, called off, stopped or finished is left alone. Safe to run any
    number of times at once.
    """
    recall = Recall.objects.select_related("application").get(pk=recall_id)
    while not stopping.is_set():
        turn = Turn(recall.application, only=recall.pk if only else None)
        # Somebody whose turn ended may have looked for work a moment before this recall was due.
        if not turn.has_more() or not turn.take():
            return


class Turn:
    """One worker's turn at an application: claim, send, record, until nothing is left to send."""

    def __init__(self, application: Application, *, only: UUID | None = None) -> None:
        self.application = application
        self.only = only
        self.owner = f"{worker_name()}-{secrets.token_hex(3)}"
        self.circuit = limits.circuit_of(application)
        self.slots = 0
        self.ready: queue.SimpleQueue[Claim | None] = queue.SimpleQueue()
        self.results: queue.SimpleQueue[tuple[Claim, Answer | GoEasyError]] = queue.SimpleQueue()
        # Batches that are claimed and not recorded yet, by id.
        self.in_hand: set[int] = set()
        self.renewed = self.begun = 0.0
        self.threads: list[threading.Thread] = []
        # What is claimed is given back instead of sent.
        self.holding_back = False
        # This process stood still for so long that others took what it holds: nothing more may leave.
        self.overtaken = False
        # Whether GoEasy has accepted a call of this turn; until then they go one at a time (docs/adr/0002).
        self.accepted = False

    def recalls(self) -> QuerySet[Recall]:
        """The recalls that this turn is for."""
        recalls = Recall.objects.filter(application=self.application)
        return recalls if self.only is None else recalls.filter(pk=self.only)

    def begin_due(self) -> None:
        """Let the recalls begin whose time has come."""
        self.begun = time.monotonic()
        waiting = self.recalls().filter(state=Recall.State.WAITING, not_before__lte=timezone.now())
        waiting.update(state=Recall.State.SENDING)

    def has_more(self) -> bool:
        """Whether anything is left to send, now or later."""
        self.begin_due()
        sending = self.recalls().filter(state=Recall.State.SENDING)
        if not self.application.is_configured:
            for recall in sending.select_related("application", "conversation"):
                stop(recall, Recall.StopReason(self.application.key_problem))
            return False
        # A recall whose worker died after the last outcome has nothing left that would finish it.
        settle(sending.exclude(batches__state__in=UNSENT).values_list("pk", flat=True))
        return sending.filter(batches__state=RecallBatch.State.PENDING).exists()

    def take(self) -> bool:
        """Take the turn; False when others hold all the slots."""
        self.renewed = time.monotonic()
        with self.application.client() as client:
            if not self.take_slots(client):
                return False
            try:
                self.keep_books(client)
            finally:
                for _thread in self.threads:
                    self.ready.put(None)
                for thread in self.threads:
                    thread.join()
                surely(lambda: limits.release_slots(self.owner))
        return True

    def take_slots(self, client: Client) -> int:
        """Take the slots that are free, start a thread for each, and return how many this turn has now."""
        for _slot in range(limits.take_slots(self.application, self.owner)):
            self.slots += 1
            self.threads.append(threading.Thread(target=self.speak, args=(client,), daemon=True))
            self.threads[-1].start()
        return self.slots

    def speak(self, client: Client) -> None:
        """One thread's share: send what is ready, and hand on what came of it. Never touches the database."""
        while (claim := self.ready.get()) is not None:
            if (ahead := (claim.at - timezone.now()).total_seconds()) > 0:
                stopping.wait(ahead)
            result: Answer | GoEasyError
            if self.ending() or self.holding_back or time.monotonic() > self.renewed + limits.LEASE - RENEW_EVERY:
                result = Withdrawn("The call was claimed and then not tried.")
            else:
                try:
                    result = client.recall(
                        target=claim.recall.conversation.target,
                        timestamps=claim.timestamps,
                        recaller=claim.recall.recaller,
                    )
                except GoEasyError as error:
                    result = error
                except Exception:
                    log.exception("recall %s: a call ended in an error of this program", claim.recall.pk)
                    result = NoAnswer("The program failed while it made the call.", kind="internal")
            self.results.put((claim, result))

    def keep_books(self, client: Client) -> None:
        """Claim and record until nothing is left to send, or the process is told to end."""
        more = True
        while True:
            # A result is waited for when there is no room, or nothing more to claim.
            room = self.room()
            results = self.gather(0 if more and room else 0.25) if self.in_hand else []
            if results:
                surely(lambda results=results: record_results(self.circuit, results))  # type: ignore[misc]
                self.accepted = self.accepted or any(isinstance(result, Answer) for _claim, result in results)
                self.in_hand -= {claim.batch.pk for claim, _result in results}
            self.renew(client)
            room = self.room()
            if room:
                claims = self.claim_patiently(room)
                more = len(claims) == room
                for claim in claims:
                    self.ready.put(claim)
            if not self.in_hand and (self.ending() or not self.wait_for_more()):
                return

    def ending(self) -> bool:
        """Whether nothing new is claimed any more."""
        return self.overtaken or stopping.is_set()

    def room(self) -> int:
        """How many more calls to claim: those under way, and as many ready to follow them at once."""
        return 0 if self.ending() else 2 * self.slots - len(self.in_hand)

    def gather(self, patience: float) -> list[tuple[Claim, Answer | GoEasyError]]:
        """The results that have come, and those that come within a moment: one commit for all of them."""
        found = []
        try:
            found.append(self.results.get(timeout=patience) if patience else self.results.get_nowait())
            until = time.monotonic() + GATHER
            while len(found) < min(self.slots, len(self.in_hand)):
                found.append(self.results.get(timeout=max(0.0, until - time.monotonic())))
        except queue.Empty:
            pass
        return found

    def renew(self, client: Client) -> None:
        """Say that this turn is alive, when it is time to, and take slots that others have given back."""
        if time.monotonic() - self.renewed < RENEW_EVERY:
            return
        now = time.monotonic()

        def renew() -> None:
            slots = limits.renew_slots(self.owner)
            # Only what this turn knows that it holds: a commit of which the answer was lost is not kept alive.
            held = RecallBatch.objects.filter(
                pk__in=self.in_hand, claimed_by=self.owner, state=RecallBatch.State.SENDING
            ).update(lease_until=timezone.now() + timedelta(seconds=limits.LEASE))
            self.overtaken = slots < self.slots or held < len(self.in_hand)

        surely(renew)
        if self.overtaken:
            log.warning("worker %s: others took what it held while it stood still", self.owner)
            return
        self.renewed = now
        if self.slots < settings.GOEASY_CONCURRENCY:
            self.take_slots(client)

    def claim_patiently(self, room: int) -> list[Claim]:
        """`claim()`, or nothing while the database is away."""
        try:
            return self.claim(room)
        except (OperationalError, InterfaceError):
            log.warning("the database is away; nothing is claimed")
            connection.close()
            if not self.in_hand:
                # Nothing is under way that would tell how long it stays away.
                self.wait_for_database()
            else:
                time.sleep(0.5)
            return []

    def wait_for_database(self) -> None:
        """Return when the database answers. Raises what it raises after PATIENCE_WITH_DATABASE."""
        deadline = time.monotonic() + PATIENCE_WITH_DATABASE
        while not stopping.wait(0.5):
            try:
                self.recalls().exists()
                return
            except (OperationalError, InterfaceError):
                connection.close()
                if time.monotonic() > deadline:
                    raise

    def claim(self, room: int) -> list[Claim]:
        """Claim at most `room` batches and commit the intent to send them."""
        if time.monotonic() - self.begun > BEGIN_EVERY:
            self.begin_due()
        probe = False
        if self.circuit.is_open:
            self.circuit = limits.circuit_of(self.application)
        if self.circuit.is_open:
            room = probe = self.may_probe(self.circuit)
        elif not self.accepted:
            # A refused key is then refused once, not once per thread.
            room = 0 if self.in_hand else 1
        self.holding_back = self.circuit.is_open and not probe
        if not room:
            return []
        with transaction.atomic():
            self.circuit = Circuit.objects.select_for_update().get(pk=self.circuit.pk)
            if self.circuit.is_open and not probe:
                return []
            claims, broken = self.claim_rows(limits.room_in_pace(self.circuit, room))
        for recall, problem in broken.items():
            log.error("recall %s cannot be sent: %s", recall.pk, problem)
            stop(recall, Recall.StopReason.INVALID)
        self.in_hand |= {claim.batch.pk for claim in claims}
        return claims

    def may_probe(self, circuit: Circuit) -> bool:
        """Whether one call may try an open circuit now. Stops the recalls of a key that is still refused."""
        if self.in_hand:
            return False
        batch = self.pending().select_related("recall__conversation", "recall__application").first()
        if batch is None or not limits.take_probe(circuit):
            return False
        try:
            if not limits.asks_history_first(circuit) or limits.probe_by_history(self.application, batch):
                return True
        except NotAllowed:
            # The call itself is not sent either: it stops the recall and says why.
            return True
        if circuit.reason == Circuit.Reason.KEY_REFUSED:
            stop_all(batch.recall, Recall.StopReason.KEY_REFUSED)
        return False

    def pending(self) -> QuerySet[RecallBatch]:
        """The batches that may be sent now: of all recalls in turn, and first what was tried least."""
        return RecallBatch.objects.filter(
            Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=timezone.now()),
            state=RecallBatch.State.PENDING,
            recall__in=self.recalls().filter(state=Recall.State.SENDING),
        ).order_by("tries", "index", "id")

    def claim_rows(self, room: int) -> tuple[list[Claim], dict[Recall, InvalidCall]]:
        """The claims, inside a transaction; and the recalls of which a call breaks a rule, with what it breaks."""
        candidates = self.pending()
        if connection.features.has_select_for_update_skip_locked:
            candidates = candidates.select_for_update(skip_locked=True, of=("self",))
        batches = {batch.pk: batch for batch in candidates[:room]}
        if not batches:
            return [], {}
        recalls = Recall.objects.select_related("application", "conversation__application").in_bulk(
            {batch.recall_id for batch in batches.values()}
        )
        items: dict[int, list[tuple[int, dict[str, str]]]] = defaultdict(list)
        names = ("message_id", "commitment", "sha256")
        rows = (
            RecallItem.objects.filter(batch__in=batches)
            .order_by("position", "evidence__id")
            .values_list("batch_id", "timestamp", *(f"evidence__{name}" for name in names))
        )
        for batch_id, timestamp, *known in rows:
            items[batch_id].append((timestamp, dict(zip(names, known, strict=True))))
        bodies: dict[int, dict[str, object]] = {}
        sent: dict[int, tuple[int, ...]] = {}
        broken: dict[Recall, InvalidCall] = {}
        for pk, batch in batches.items():
            recall = recalls[batch.recall_id]
            sent[pk] = tuple(dict.fromkeys(timestamp for timestamp, *_evidence in items[pk]))
            try:
                bodies[pk] = call_body(recall.application, recall.conversation.target, sent[pk], recall.recaller)
            except InvalidCall as problem:
                broken[recall] = problem
        now = timezone.now()
        lease = now + timedelta(seconds=limits.LEASE)
        sound = RecallBatch.objects.filter(
            pk__in=bodies, state=RecallBatch.State.PENDING, recall__state=Recall.State.SENDING
        )
        claimed = sound.update(
            state=RecallBatch.State.SENDING,
            claimed_by=self.owner,
            lease_until=lease,
            attempt_count=F("attempt_count") + 1,
            tries=F("tries") + 1,
        )
        mine = list(bodies)
        if claimed != len(mine):
            # Called off or stopped meanwhile: only what the update changed is claimed.
            changed = RecallBatch.objects.filter(pk__in=bodies, claimed_by=self.owner, lease_until=lease)
            mine = list(changed.order_by("tries", "index", "id").values_list("pk", flat=True))
        attempts = []
        for pk in mine:
            batch = batches[pk]
            batch.attempt_count += 1
            batch.tries += 1
            attempts.append(RecallAttempt(batch=batch, number=batch.attempt_count, started_at=now))
        attempts = RecallAttempt.objects.bulk_create(attempts)
        claims = [
            Claim(recalls[attempt.batch.recall_id], attempt.batch, attempt, sent[attempt.batch.pk], at)
            for attempt, at in zip(attempts, limits.reserve(self.circuit, len(attempts)), strict=True)
        ]
        record_all([self.intent(claim, bodies[claim.batch.pk], items[claim.batch.pk]) for claim in claims])
        return claims, broken

    def intent(self, claim: Claim, body: dict[str, object], items: list[tuple[int, dict[str, str]]]) -> AuditEntry:
        """The audit entry that says what is about to be sent, and of which messages there is evidence.

        Evidence of before there were commitments is told by its bare hash.
        """
        return entry(
            actor=claim.recall.sent_for,
            action=Action.SENDING,
            app=claim.recall.application.slug,
            conversation=claim.recall.conversation.for_audit(),
            recall=claim.recall.pk,
            batch=claim.batch.index,
            attempt=claim.attempt.number,
            timestamps=claim.timestamps,
            request=body,
            detail={
                "worker": self.owner,
                "evidence": [
                    {"timestamp": timestamp, "message_id": known["message_id"], name: known[name]}
                    for timestamp, known in items
                    if known[name := "commitment" if known["commitment"] else "sha256"]
                ],
            },
        )

    def wait_for_more(self) -> bool:
        """Wait a little for a batch that is to be sent later; False when there is none."""
        if not self.has_more():
            return False
        later = (
            RecallBatch.objects.filter(
                state=RecallBatch.State.PENDING, recall__in=self.recalls().filter(state=Recall.State.SENDING)
            )
            .order_by("next_attempt_at")
            .values_list("next_attempt_at", flat=True)
            .first()
        )
        seconds = (later - timezone.now()).total_seconds() if later else 0.0
        # In short steps: a recall that is called off meanwhile should not keep its worker.
        stopping.wait(min(max(seconds, 0.5 if self.circuit.is_open else 0.02), 1.0))
        return True


def due_recalls() -> list[Recall]:
    """Recalls whose time came a while ago and that nobody is sending: a worker died, or the queue lost the task.

    One for each application: whoever sends it sends all of them.
    """
    overdue = Recall.objects.filter(
        state__in=[Recall.State.WAITING, Recall.State.SENDING],
        not_before__lt=timezone.now() - timedelta(seconds=5),
    )
    idle = [each for each in Application.objects.all() if not limits.is_being_sent(each)]
    first = (overdue.filter(application=application).order_by("not_before").first() for application in idle)
    return [recall for recall in first if recall is not None]
