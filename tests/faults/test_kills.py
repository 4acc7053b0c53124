"""SIGKILL at seven named points and at random moments: the record shows what was sent and what is unknown.

These tests make a few runs; `make soak` makes 50 at each point and 1,000 at random, and prints the figures.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from moderation.outbox.models import Attempt, Call
from recall.models import Recall
from tests.faults.conftest import KILLED, Life, Victims
from tests.faults.witness import Witness

pytestmark = pytest.mark.django_db(transaction=True)

# How often each point occurs in a recall of six calls, at most.
SENDING = {
    "before the intent is committed": 2,
    "after the intent is committed": 2,
    "after the request is written": 6,
    "after the answer is read": 6,
    "after the outcome is committed": 2,
}
POINTS = [*SENDING, "while a recall is being split", "while a lease is taken over"]


class Killing:
    """Kills a process during a recall and lets another one finish it."""

    def __init__(
        self, victims: Victims, live: Callable[..., Life], witness: Witness, moderator: Any, reason: Any
    ) -> None:
        self.victims, self.live, self.witness = victims, live, witness
        self.moderator, self.reason = moderator, reason

    def at(self, point: str) -> None:
        """Run a recall in which a process is killed at `point`."""
        life = self.live()
        if point == "while a recall is being split":
            assert self.victims(steps=["request", "send"], point=point, nth=1, **life.order) == KILLED
            assert life.existing_recall() is None, "the request is atomic"
            recall = life.request(self.moderator, self.reason)
            assert self.victims(steps=["send"], **life.order) == 0
        else:
            recall = life.request(self.moderator, self.reason)
            first = "after the request is written" if point == "while a lease is taken over" else point
            nth = random.randint(1, SENDING[first])  # noqa: S311 - no secret
            assert self.victims(steps=["send"], point=first, nth=nth, **life.order) == KILLED
        if point == "while a lease is taken over":
            Call.objects.filter(state="sending").update(lease_until="2001-01-01T00:00:00Z")
            assert self.victims(steps=["recover"], point=point, nth=1) == KILLED
        life.finish(recall, self.witness)

    def at_any_moment(self, longest: float) -> None:
        """Run a recall in which the process is killed at a random moment within `longest` seconds."""
        life = self.live()
        moment = random.uniform(0, longest)  # noqa: S311 - no secret
        self.victims(steps=["request", "send"], kill_after=moment, **life.order)
        life.finish(life.existing_recall() or life.request(self.moderator, self.reason), self.witness)

    def duration(self) -> float:
        """Seconds that a recall takes when no process is killed."""
        life = self.live()
        started = time.monotonic()
        assert self.victims(steps=["request", "send"], **life.order) == 0
        took = time.monotonic() - started
        recall = life.existing_recall()
        assert recall is not None
        assert recall.state == Recall.State.FINISHED
        return took


@pytest.fixture
def killing(
    victims: Victims, live: Callable[..., Life], witness: Witness, moderator: Any, reason: Any, sandbox: Any
) -> Killing:
    sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 5}])
    return Killing(victims, live, witness, moderator, reason)


def test_the_record_is_right_after_a_kill_at_each_named_point(killing: Killing, witness: Witness) -> None:
    for point in POINTS:
        for _run in range(2):
            killing.at(point)
    witness.check()
    assert witness.received >= 6 * len(POINTS)
    assert witness.left_open > 0


def test_the_record_is_right_after_a_kill_at_a_random_moment(killing: Killing, witness: Witness) -> None:
    longest = 1.2 * killing.duration()
    for _run in range(20):
        killing.at_any_moment(longest)
    witness.check()


def test_the_witness_detects_a_call_without_intent(killing: Killing, witness: Witness, sandbox: Any) -> None:
    life = killing.live()
    with life.conversation.application.client() as client:
        client.recall(target=life.conversation.target, timestamps=life.timestamps[:20])
    assert (witness.received, witness.with_intent) == (1, 0)
    with pytest.raises(AssertionError):
        witness.check()


@pytest.mark.soak
def test_the_record_is_right_after_fifty_kills_at_each_point(killing: Killing, witness: Witness) -> None:
    for point in POINTS:
        for _run in range(50):
            killing.at(point)
    print_figures(f"{50 * len(POINTS)} kills at {len(POINTS)} named points", witness)
    witness.check()


@pytest.mark.soak
def test_the_record_is_right_after_a_thousand_random_kills(killing: Killing, witness: Witness) -> None:
    longest = 1.2 * killing.duration()
    for _run in range(1_000):
        killing.at_any_moment(longest)
    print_figures("1,000 kills at random moments", witness)
    witness.check()


def print_figures(title: str, witness: Witness) -> None:
    """Print the figures (`make soak` shows what is printed)."""
    print(f"\n{connection.vendor}: {title}")
    outcomes = Attempt.objects.order_by().values_list("outcome", flat=True)
    print(f"  attempts: { {outcome: list(outcomes).count(outcome) for outcome in sorted(set(outcomes))} }")
    for line in witness.figures():
        print(f"  {line}")
