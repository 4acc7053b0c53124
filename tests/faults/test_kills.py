"""SIGKILL, at seven named points and at any moment: the record says truly what was sent and what is not known.

A few runs of each here; `make soak` makes 50 of each and a thousand at random, and prints the figures.
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

# At which of its occurrences a process may die there, in a recall of six calls.
SENDING = {
    "before the intent is committed": 2,
    "after the intent is committed": 2,
    "after the request is written": 6,
    "after the answer is read": 6,
    "after the outcome is committed": 2,
}
POINTS = [*SENDING, "while a recall is being split", "while a lease is taken over"]


class Killing:
    """Kills processes, and has another one go on."""

    def __init__(self, victims: Victims, live: Callable[..., Life], witness: Witness, who: Any, reason: Any) -> None:
        self.victims, self.live, self.witness, self.who, self.reason = victims, live, witness, who, reason

    def at(self, point: str) -> None:
        """One life, in which a process is killed at `point`."""
        life = self.live()
        if point == "while a recall is being split":
            assert self.victims(do=["request", "send"], point=point, nth=1, **life.order) == KILLED
            assert life.found() is None, "all of it, or nothing"
            recall = life.request(self.who, self.reason)
            assert self.victims(do=["send"], **life.order) == 0
        else:
            recall = life.request(self.who, self.reason)
            first = "after the request is written" if point == "while a lease is taken over" else point
            nth = random.randint(1, SENDING[first])  # noqa: S311 - no secret
            assert self.victims(do=["send"], point=first, nth=nth, **life.order) == KILLED
        if point == "while a lease is taken over":
            Call.objects.filter(state="sending").update(lease_until="2001-01-01T00:00:00Z")
            assert self.victims(do=["recover"], point=point, nth=1) == KILLED
        life.survive(recall, self.witness)

    def at_any_moment(self, longest: float) -> None:
        """One life, in which a process that asks for a recall and sends it is killed within `longest` seconds."""
        life = self.live()
        moment = random.uniform(0, longest)  # noqa: S311 - no secret
        self.victims(do=["request", "send"], kill_after=moment, **life.order)
        life.survive(life.found() or life.request(self.who, self.reason), self.witness)

    def whole_life(self) -> float:
        """Seconds that a life takes when nobody is killed."""
        life = self.live()
        started = time.monotonic()
        assert self.victims(do=["request", "send"], **life.order) == 0
        took = time.monotonic() - started
        recall = life.found()
        assert recall is not None
        assert recall.state == Recall.State.FINISHED
        return took


@pytest.fixture
def killing(
    victims: Victims, live: Callable[..., Life], witness: Witness, moderator: Any, reason: Any, sandbox: Any
) -> Killing:
    sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 5}])
    return Killing(victims, live, witness, moderator, reason)


def test_killed_at_any_of_the_named_points_the_record_is_true(killing: Killing, witness: Witness) -> None:
    for point in POINTS:
        for _run in range(2):
            killing.at(point)
    witness.check()
    assert witness.received >= 6 * len(POINTS)
    assert witness.left_open > 0


def test_killed_at_any_moment_the_record_is_true(killing: Killing, witness: Witness) -> None:
    longest = 1.2 * killing.whole_life()
    for _run in range(20):
        killing.at_any_moment(longest)
    witness.check()


def test_a_call_without_intent_would_be_noticed(killing: Killing, witness: Witness, sandbox: Any) -> None:
    """The witness is no rubber stamp."""
    life = killing.live()
    with life.conversation.application.client() as client:
        client.recall(target=life.conversation.target, timestamps=life.timestamps[:20])
    assert (witness.received, witness.with_intent) == (1, 0)
    with pytest.raises(AssertionError):
        witness.check()


@pytest.mark.soak
def test_fifty_kills_at_each_of_the_named_points(killing: Killing, witness: Witness) -> None:
    for point in POINTS:
        for _run in range(50):
            killing.at(point)
    told(f"{50 * len(POINTS)} kills at {len(POINTS)} named points", witness)
    witness.check()


@pytest.mark.soak
def test_a_thousand_kills_at_any_moment(killing: Killing, witness: Witness) -> None:
    longest = 1.2 * killing.whole_life()
    for _run in range(1_000):
        killing.at_any_moment(longest)
    told("1,000 kills at random moments", witness)
    witness.check()


def told(what: str, witness: Witness) -> None:
    """Print the figures (`make soak` shows what is printed)."""
    print(f"\n{connection.vendor}: {what}")
    outcomes = Attempt.objects.order_by().values_list("outcome", flat=True)
    print(f"  attempts: { {outcome: list(outcomes).count(outcome) for outcome in sorted(set(outcomes))} }")
    for line in witness.figures():
        print(f"  {line}")
