"""Check of the database, at the moment a recall arrives at the sandbox, for a committed intent."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from django.db.models import Q

from moderation.audit.models import AuditEntry
from moderation.outbox.models import LOST, Attempt
from recall.models import Recall, RecallBatch
from tests.outbox.calls import disagreements

GROUP = "groupId"


@dataclass
class Witness:
    """Counts of received calls and of their intents. Set `observe` as the sandbox's `on_call`."""

    patience: float = 0
    received: int = 0
    with_intent: int = 0
    # Number of arrivals by (group, timestamp).
    arrivals: Counter[tuple[str, int]] = field(default_factory=Counter)
    # Ids of attempts whose calls have arrived.
    covered: set[int | None] = field(default_factory=set)
    left_open: int = 0
    ended_unknown: int = 0
    undecided: int = 0

    def observe(self, call: dict[str, Any]) -> None:
        """Count a call, and whether it matches a committed attempt and its audit entry."""
        # A call whose body is incomplete has no effect.
        if call["endpoint"] != "recall" or GROUP not in call["body"]:
            return
        group, timestamps = call["body"][GROUP], call["body"]["messages"]
        attempt = self.find_attempt(group, timestamps)
        self.received += 1
        # One intent covers one call.
        self.with_intent += attempt is not None and attempt not in self.covered
        self.covered.add(attempt)
        self.arrivals.update((group, timestamp) for timestamp in timestamps)

    def find_attempt(self, group: str, timestamps: list[int]) -> int | None:
        """`matching_attempt()`, retried for `patience` seconds while the database is unreachable."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return matching_attempt(group, timestamps)
            except (OperationalError, InterfaceError):
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.1)
            finally:
                connection.close()

    @property
    def sent_again(self) -> int:
        """Number of messages that arrived more than once."""
        return sum(1 for times in self.arrivals.values() if times > 1)

    def record_outcomes(self, recall: Recall, open_attempts: list[int]) -> None:
        """Count the outcomes of a recall of which a killed process left `open_attempts` (ids)."""
        attempts = Attempt.objects.filter(pk__in=open_attempts)
        self.left_open += len(open_attempts)
        self.ended_unknown += attempts.filter(outcome=Attempt.Outcome.UNKNOWN).count()
        self.undecided += recall.batches.filter(state=RecallBatch.State.SENDING).count()

    def figures(self) -> list[str]:
        """The measured figures, one per line."""
        return [
            f"calls received {self.received}, with a committed intent {self.with_intent}, "
            f"ratio {self.with_intent / max(1, self.received):.3f}",
            f"attempts left open {self.left_open}, ended as unknown {self.ended_unknown}",
            f"timestamps sent again without reading history {self.sent_again}",
            f"calls neither final nor unsent {self.undecided}",
        ]

    def check(self) -> None:
        """Raise AssertionError unless every figure is right."""
        assert self.with_intent == self.received, self.figures()
        assert self.ended_unknown == self.left_open, self.figures()
        assert self.sent_again == self.undecided == 0, self.figures()
        assert disagreements() == []


def matching_attempt(group: str, timestamps: list[int]) -> int | None:
    """Id of the open attempt with exactly these timestamps of the group, which its audit entry names, too.

    An attempt that is already unknown counts, too: leases are expired at once here, and a busy machine may receive the
    call of a killed process only after that.
    """
    attempts = Attempt.objects.filter(
        Q(outcome=Attempt.Outcome.OPEN) | Q(outcome=Attempt.Outcome.UNKNOWN, problem=LOST),
        call__recall_batch__recall__conversation__group_id=group,
    ).select_related("call__recall_batch")
    for attempt in attempts:
        batch = attempt.call.recall_batch
        items = batch.items.order_by("position").values_list("timestamp", flat=True)
        entry = AuditEntry.objects.filter(
            action="recall.sending",
            recall=batch.recall_id,
            batch=batch.index,
            attempt=attempt.number,
        ).first()
        if list(items) == timestamps and entry and entry.timestamps == timestamps and entry.group_id == group:
            return attempt.pk
    return None
