"""Real worker processes: SIGTERM, shared limits, and a second worker that continues."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from moderation.outbox.models import CallSlot
from recall.models import Recall, RecallBatch
from tests.faults.conftest import ROOT, Life
from tests.faults.witness import Witness

pytestmark = pytest.mark.django_db(transaction=True)

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """A function that starts a worker process with additional settings."""
    running = []

    def worker(**settings: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "manage.py", "worker"]
        process = subprocess.Popen(command, cwd=ROOT, env={**environment, **settings})
        running.append(process)
        return process

    yield worker
    for process in running:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], object], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)


def is_finished(recall: Recall) -> bool:
    return Recall.objects.get(pk=recall.pk).state == Recall.State.FINISHED


def test_a_terminated_worker_finishes_its_calls_and_another_continues(
    start: Start, live: Callable[..., Life], moderator: Any, reason: Any, sandbox: Any, witness: Witness
) -> None:
    sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 300}])
    recall = live(40).request(moderator, reason)
    first = start(GOEASY_READ_TIMEOUT="5")
    wait_until(lambda: witness.received >= 10)
    terminated_at = time.monotonic()
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=15) == 0
    assert time.monotonic() - terminated_at < 5, "within the read time-out"
    sent = witness.received
    states = list(recall.batches.values_list("state", flat=True))
    # No call is open, and none left after the process had ended.
    assert states.count(RecallBatch.State.ACCEPTED) == sent < 40
    assert states.count(RecallBatch.State.PENDING) == 40 - sent
    assert not CallSlot.objects.exclude(held_by="").exists()
    sandbox.clear_faults()
    start()
    wait_until(lambda: is_finished(recall))
    assert set(recall.batches.values_list("state", flat=True)) == {RecallBatch.State.ACCEPTED}
    assert witness.received == 40
    witness.check()


def test_two_workers_share_the_limit_of_concurrent_calls(
    start: Start, live: Callable[..., Life], moderator: Any, reason: Any, sandbox: Any, witness: Witness
) -> None:
    sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 100}])
    for _worker in range(2):
        start(GOEASY_CONCURRENCY="3", RECALL_VERIFY="false")
    recalls = [live(20).request(moderator, reason) for _ in range(2)]
    wait_until(lambda: all(is_finished(recall) for recall in recalls))
    in_flight = [call["in_flight"] for call in sandbox.calls("recall")]
    assert (len(in_flight), max(in_flight)) == (40, 3)
    witness.check()


def test_two_workers_share_the_limit_of_calls_per_second(
    start: Start, live: Callable[..., Life], moderator: Any, reason: Any, sandbox: Any, witness: Witness
) -> None:
    for _worker in range(2):
        start(GOEASY_MAX_CALLS_PER_SECOND="20", GOEASY_CONCURRENCY="2", RECALL_VERIFY="false")
    recalls = [live(20).request(moderator, reason) for _ in range(2)]
    wait_until(lambda: all(is_finished(recall) for recall in recalls))
    times = [call["at_ms"] for call in sandbox.calls("recall")]
    # 40 calls: 39 gaps of 50 ms. What leaves on time may arrive a little early or late.
    assert times[-1] - times[0] >= 39 * 50 - 100
    for first, later in zip(times, times[10:], strict=False):
        assert later - first >= 10 * 50 - 200
    witness.check()
