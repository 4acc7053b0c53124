"""GOEASY_MAX_CALLS_PER_SECOND: every call counts, whoever makes it, and no caller starves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from moderation.archive.models import Conversation
from moderation.ingestion import backfill
from moderation.ingestion import comparison as gaps
from moderation.ingestion.backfill import look_up, read_before, read_latest, survey
from moderation.outbox import admission
from moderation.outbox.admission import PaceExceeded, capacity_of_pace, circuit_of, wait_for_pace
from moderation.outbox.models import Circuit
from moderation.outbox.sender import send_due
from recall import verify
from recall.models import Recall

pytestmark = pytest.mark.django_db(transaction=True)

FIRST = 1_700_000_000_000
# Calls a second.
RATE = 20.0


@pytest.fixture(autouse=True)
def paced(settings: Any) -> None:
    settings.GOEASY_MAX_CALLS_PER_SECOND = RATE


def now_ms() -> float:
    return time.time() * 1000


def keeps_to_the_pace(times: list[int], began_ms: float) -> None:
    """The last of the calls that arrived at `times` (ms) was promised no time before all others had theirs."""
    assert max(times) - began_ms >= (len(times) - 1) * 1000 / RATE


READS: dict[str, Callable[[Conversation, list[int]], object]] = {
    "a page": lambda conversation, _times: read_latest(conversation, pages=7),
    "a page of older messages": lambda conversation, times: read_before(conversation, times[-1], pages=7),
    "evidence": lambda conversation, times: look_up(conversation, times[::29], max_calls=7),
    "verification": lambda conversation, times: survey(conversation, times[::30], pages=7),
    "backfill": lambda conversation, _times: gaps.fill(conversation, since=0, max_calls=7),
}


@pytest.mark.parametrize("who", READS)
def test_reads_of_history_keep_to_the_pace_whoever_makes_them(
    sandbox: Any,
    connected: Any,
    private: Conversation,
    messages: Callable[..., list[int]],
    monkeypatch: pytest.MonkeyPatch,
    who: str,
) -> None:
    # However busy the machine is that the tests run on.
    monkeypatch.setattr(backfill, "PATIENCE", 60.0)
    times = messages(250)
    began_ms = now_ms()
    READS[who](private, times)
    arrived = [call["at_ms"] for call in sandbox.calls("history")]
    assert len(arrived) == 7
    keeps_to_the_pace(arrived, began_ms)


def test_reads_of_history_and_recalls_share_the_pace(
    sandbox: Any, connected: Any, private: Conversation, request_recall: Callable[..., Recall], messages: Any
) -> None:
    recall = request_recall(200)
    arrived = len(sandbox.calls())
    messages(100, FIRST + 10_000_000)
    began_ms = now_ms()
    reader = threading.Thread(target=lambda: (read_latest(private, pages=4), connection.close()))
    reader.start()
    send_due(recall.application)
    reader.join()
    calls = sandbox.calls()[arrived:]
    assert [call["endpoint"] for call in calls].count("recall") == 10
    assert len(calls) >= 14
    keeps_to_the_pace([call["at_ms"] for call in calls], began_ms)
    assert set(recall.batches.values_list("state", flat=True)) == {"accepted"}


def test_verification_keeps_to_the_pace_and_to_its_slot(sandbox: Any, send: Any, messages: Any, settings: Any) -> None:
    settings.RECALL_VERIFY_AFTER = 0
    send(messages(60))
    before, began_ms = len(sandbox.calls("history")), now_ms()
    verify.check_due()
    times = [call["at_ms"] for call in sandbox.calls("history")][before:]
    assert len(times) == 5
    keeps_to_the_pace(times, began_ms)


def test_a_page_waits_so_long_and_no_longer_and_reserves_nothing(
    sandbox: Any, connected: Any, private: Conversation
) -> None:
    circuit_of(connected)
    later = timezone.now() + timedelta(seconds=60)
    Circuit.objects.update(call_at=later)
    began = time.monotonic()
    assert read_latest(private).problem == "paced"
    assert time.monotonic() - began < 1
    assert (sandbox.calls(), Circuit.objects.get().call_at) == ([], later)


def test_a_page_that_has_to_wait_says_so_in_a_sentence(
    sandbox: Any, connected: Any, private: Conversation, client: Client, moderator: Any
) -> None:
    circuit_of(connected)
    Circuit.objects.update(call_at=timezone.now() + timedelta(seconds=60))
    client.force_login(moderator)
    response = client.get(private.get_absolute_url())
    assert response.status_code == 200
    assert "GOEASY_MAX_CALLS_PER_SECOND allows" in response.content.decode()


def test_a_page_shows_what_came_before_its_patience_ended(
    sandbox: Any, connected: Any, private: Conversation, messages: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.GOEASY_MAX_CALLS_PER_SECOND = 0.02
    monkeypatch.setattr(backfill, "PATIENCE", 30.0)
    messages(100)
    reading = read_latest(private, pages=3)
    assert (reading.problem, reading.added, reading.reached_start) == ("", 30, False)
    assert len(sandbox.calls("history")) == 1
    # The look-up reports that it is incomplete.
    Circuit.objects.update(call_at=None)
    assert look_up(private, [FIRST, FIRST + 40_000]).problem == "paced"


def test_those_who_wait_at_once_get_a_time_of_their_own(connected: Any) -> None:
    times: list[float] = []
    start, began = threading.Barrier(6), time.monotonic()

    def wait() -> None:
        start.wait()
        wait_for_pace(connected)
        times.append(time.monotonic())
        connection.close()

    threads = [threading.Thread(target=wait) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(times) - began >= 5 / RATE


def test_who_waits_does_not_keep_a_sender_with_nothing_under_way_from_its_turn(connected: Any) -> None:
    circuit = circuit_of(connected)
    circuit.call_at = timezone.now() + timedelta(seconds=3)
    assert capacity_of_pace(circuit, 8, is_idle=True) == 1
    assert capacity_of_pace(circuit, 8, is_idle=False) == 0
    circuit.call_at = None
    assert capacity_of_pace(circuit, 50, is_idle=False) == RATE


def test_a_recall_leaves_in_its_turn_though_readers_never_stop(
    sandbox: Any, connected: Any, private: Conversation, request_recall: Callable[..., Recall], settings: Any
) -> None:
    recall = request_recall(1)
    settings.GOEASY_MAX_CALLS_PER_SECOND = 4.0
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            wait_for_pace(connected)
        connection.close()

    # As many as keep the pace promised further ahead than a sender with calls under way looks.
    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    time.sleep(0.5)
    began = time.monotonic()
    send_due(recall.application)
    took = time.monotonic() - began
    done.set()
    for reader in readers:
        reader.join()
    assert recall.batches.get().state == "accepted"
    assert took < 5


def test_without_a_limit_nothing_waits_and_no_row_is_written(connected: Any, settings: Any) -> None:
    settings.GOEASY_MAX_CALLS_PER_SECOND = 0
    wait_for_pace(connected, patience=0)
    assert not Circuit.objects.exists()


def test_a_probe_takes_part(sandbox: Any, connected: Any, private: Conversation) -> None:
    circuit_of(connected)
    Circuit.objects.update(call_at=timezone.now() + timedelta(seconds=60))
    assert not admission.probe_by_history(connected, private.target)
    assert sandbox.calls() == []
    with pytest.raises(PaceExceeded):
        wait_for_pace(connected, patience=5)
