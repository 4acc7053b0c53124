"""Workers that send recalls: several at once, their limits, and their end."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from moderation.audit.models import AuditEntry
from moderation.outbox import admission, recovery, results, sender
from moderation.outbox.claims import Claimer
from moderation.outbox.models import Attempt, Call, CallSlot
from moderation.outbox.sender import send_due
from moderation.outbox.threads import stopping
from recall.models import Recall
from tests.outbox.calls import lease_ran_out
from tests.outbox.sent import FIRST, states

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_attempt_that_a_dead_worker_left_open_is_called_unknown(
    request_recall: Callable[..., Recall], sandbox: Any
) -> None:
    recall = request_recall(1)
    Recall.objects.update(state="sending")
    recall.refresh_from_db()
    assert len(Claimer(recall.application, "w").claim(1, is_idle=True)) == 1
    assert recovery.recover_orphans() == 0, "its lease still runs"
    lease_ran_out()
    assert recovery.recover_orphans() == 1
    recall.refresh_from_db()
    assert (recall.state, states(recall)) == ("finished", ["unknown"])
    assert sandbox.calls("recall") == []
    assert AuditEntry.objects.filter(actor="(worker)", action="recall.unanswered").count() == 1


def test_an_answer_after_the_lease_takes_the_place_of_unknown(
    request_recall: Callable[..., Recall], connected: Any
) -> None:
    recall = request_recall(1)
    Recall.objects.update(state="sending")
    recall.refresh_from_db()
    (claim,) = Claimer(recall.application, "w").claim(1, is_idle=True)
    lease_ran_out()
    recovery.recover_orphans()
    assert states(recall) == ["unknown"]
    with connected.client() as client:
        answer = client.perform(claim.call.prepared)
    results.record_results(admission.circuit_of(connected), [(claim, answer)])
    assert states(recall) == ["accepted"]
    assert Attempt.objects.get().response_code == 200
    assert AuditEntry.objects.latest("pk").detail["late"] is True


def test_a_terminated_worker_claims_nothing_more(
    request_recall: Callable[..., Recall], sandbox: Any, settings: Any
) -> None:
    settings.GOEASY_CONCURRENCY = 2
    recall = request_recall(400)
    sandbox.on_call = lambda call: stopping.set()
    try:
        send_due(recall.application)
    finally:
        stopping.clear()
    recall.refresh_from_db()
    assert recall.state == "sending"
    assert set(states(recall)) == {"accepted", "pending"}
    sandbox.on_call = None
    send_due(recall.application)
    assert set(states(recall)) == {"accepted"}


def test_an_outcome_is_recorded_once_the_database_is_back(
    request_recall: Callable[..., Recall], monkeypatch: pytest.MonkeyPatch
) -> None:
    recall = request_recall(1)
    record_outcome, failures = results.record_outcome, [OperationalError("gone"), OperationalError("still gone")]

    def unreliable(*args: Any, **kwargs: Any) -> None:
        if failures:
            raise failures.pop()
        record_outcome(*args, **kwargs)

    monkeypatch.setattr(results, "record_outcome", unreliable)
    send_due(recall.application)
    assert states(recall) == ["accepted"]


def test_an_overdue_recall_is_detected(request_recall: Callable[..., Recall]) -> None:
    recall = request_recall(1)
    assert recovery.overdue_applications() == []
    Call.objects.update(not_before=timezone.now() - timedelta(seconds=30))
    assert recovery.overdue_applications() == [recall.application]


def test_two_senders_of_one_recall_share_it(request_recall: Callable[..., Recall], sandbox: Any) -> None:
    import threading

    recall = request_recall(200)
    sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 20}])
    threads = [threading.Thread(target=send_due, args=(recall.application,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = [timestamp for call in sandbox.calls("recall") for timestamp in call["body"]["messages"]]
    assert sorted(sent) == [FIRST + number for number in range(200)]
    assert set(states(recall)) == {"accepted"}


def test_concurrent_calls_stay_within_the_setting(
    request_recall: Callable[..., Recall], sandbox: Any, settings: Any
) -> None:
    settings.GOEASY_CONCURRENCY = 3
    sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 100}])
    send_due(request_recall(300).application)
    assert 1 < max(call["in_flight"] for call in sandbox.calls("recall")) <= 3


def test_calls_per_second_stay_within_the_setting(
    request_recall: Callable[..., Recall], sandbox: Any, settings: Any
) -> None:
    settings.GOEASY_MAX_CALLS_PER_SECOND = 20.0
    send_due(request_recall(100).application)
    times = [call["at_ms"] for call in sandbox.calls("recall")]
    # Five calls, 50 ms apart; the first may be noted late on a busy machine.
    assert times[-1] - times[0] >= 4 * 50 - 60


def test_a_worker_that_stood_still_while_others_took_over_sends_nothing_more(
    request_recall: Callable[..., Recall], sandbox: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.GOEASY_CONCURRENCY = 1
    monkeypatch.setattr(sender, "RENEW_EVERY", 0.05)
    recall = request_recall(100)

    def take_over(call: dict[str, Any]) -> None:
        if len(sandbox.calls("recall")) != 2:
            return
        # The second call is under way and a third is ready: to others this worker seems dead.
        lease_ran_out()
        assert recovery.recover_orphans() == 2
        CallSlot.objects.update(held_by="somebody else")
        connection.close()
        time.sleep(0.5)

    sandbox.on_call = take_over
    send_due(recall.application)
    assert len(sandbox.calls("recall")) == 2
    # The answer that came late is learnt; what never left stays unknown until history tells.
    assert states(recall) == ["accepted", "accepted", "unknown", "pending", "pending"]


def test_a_worker_takes_the_slots_that_others_give_back(
    request_recall: Callable[..., Recall], sandbox: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.GOEASY_CONCURRENCY = 4
    monkeypatch.setattr(sender, "RENEW_EVERY", 0.05)
    sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 60}])
    recall = request_recall(400)
    assert admission.take_slots(recall.application, "somebody else", limit=3) == 3

    def give_back(call: dict[str, Any]) -> None:
        if len(sandbox.calls("recall")) == 3:
            admission.release_slots("somebody else")
            connection.close()

    sandbox.on_call = give_back
    send_due(recall.application)
    in_flight = [call["in_flight"] for call in sandbox.calls("recall")]
    assert (max(in_flight[:3]), max(in_flight)) == (1, 4)
    assert not CallSlot.objects.exclude(held_by="").exists()
