"""The circuit: when it opens, who may probe, and what closes it."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from moderation.goeasy.answers import Answer
from moderation.goeasy.errors import GoEasyError, NoAnswer, NotSent, Refused
from moderation.outbox import admission
from moderation.outbox.admission import FAILURES_TO_OPEN, PROBE_EVERY
from moderation.outbox.models import Call, Circuit
from moderation.outbox.sender import send_due
from recall import verify
from recall.models import Recall

FIRST = 1_700_000_000_000
SILENCE = NoAnswer("silence", kind="read_timeout")


def refused(status: int, code: int | None = None) -> Refused:
    return Refused(Answer(status, code, "", 5, is_malformed=code is None))


@pytest.fixture
def circuit(application: Any) -> Circuit:
    return admission.circuit_of(application)


def fail(circuit: Circuit, *errors: GoEasyError) -> Circuit:
    for error in errors:
        admission.note_failure(circuit, error)
    circuit.refresh_from_db()
    return circuit


@pytest.mark.parametrize("error", [SILENCE, NotSent("no route"), refused(503), refused(200, 503)])
def test_ten_failures_in_a_row_open_it_and_nine_do_not(circuit: Circuit, error: GoEasyError) -> None:
    assert FAILURES_TO_OPEN == 10
    assert not fail(circuit, *[error] * 9).is_open
    assert fail(circuit, error).is_open
    assert circuit.reason == Circuit.Reason.FAILING


@pytest.mark.parametrize("refusal", [refused(401), refused(403), refused(200, 401), refused(200, 403)])
def test_a_refused_key_opens_it_at_once(circuit: Circuit, refusal: Refused) -> None:
    assert fail(circuit, refusal).reason == Circuit.Reason.KEY_REFUSED


def test_an_answer_ends_the_row(circuit: Circuit) -> None:
    fail(circuit, *[SILENCE] * 9)
    admission.note_answer(circuit)
    assert not fail(circuit, *[SILENCE] * 9).is_open
    # A refusal for what is in the call is an answer as well: GoEasy is well.
    assert fail(circuit, refused(400, 400)).failures == 0


def test_too_many_calls_say_nothing_of_its_health(circuit: Circuit) -> None:
    fail(circuit, *[SILENCE] * 5, *[refused(429)] * 20)
    assert (circuit.failures, circuit.is_open) == (5, False)


def test_one_probe_is_let_through_in_five_seconds_whoever_asks(circuit: Circuit, time_machine: Any) -> None:
    start = timezone.now()
    time_machine.move_to(start, tick=False)
    fail(circuit, refused(401))
    probes = []
    for second in range(30):
        time_machine.move_to(start + timedelta(seconds=second), tick=False)
        probes += [second for _worker in range(3) if admission.take_probe(circuit)]
    assert PROBE_EVERY == 5
    assert probes == [5, 10, 15, 20, 25]


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_at_once_one_gets_the_probe(circuit: Circuit) -> None:
    for _round in range(5):
        Circuit.objects.update(probe_at=None)
        start, taken = threading.Barrier(2), []

        def probe(start: threading.Barrier = start, taken: list[bool] = taken) -> None:
            start.wait()
            taken.append(admission.take_probe(circuit))
            connection.close()

        threads = [threading.Thread(target=probe) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == [False, True]


def test_an_answer_closes_it_and_what_waited_goes_at_once(circuit: Circuit, make_recall: Any) -> None:
    recall = make_recall([FIRST], state="sending")
    later = timezone.now() + timedelta(minutes=5)
    Call.objects.update(not_before=later, tries=1)
    not_begun = make_recall([FIRST + 1], grace=300)
    admission.note_answer(fail(circuit, *[SILENCE] * 10))
    circuit.refresh_from_db()
    assert (circuit.is_open, circuit.failures, circuit.reason) == (False, 0, "")
    assert recall.batches.get().call.not_before <= timezone.now()
    assert not_begun.batches.get().call.not_before == not_begun.not_before, "its time has not come"


@pytest.mark.django_db(transaction=True)
def test_while_it_is_open_one_call_at_a_time_tries_and_the_rest_follows_an_answer(
    connected: Any, make_recall: Any, sandbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "PROBE_EVERY", 0.05)
    recall = make_recall([FIRST + n for n in range(200)])
    fail(admission.circuit_of(recall.application), *[refused(503)] * 10)
    sandbox.set_faults([{"on": "recall", "kind": "status", "status": 503, "times": 3}])
    send_due(recall.application)
    calls = sandbox.calls("recall")
    assert [call["in_flight"] for call in calls[:4]] == [1, 1, 1, 1]
    assert [call["http_status"] for call in calls[:4]] == [503, 503, 503, 200]
    assert len(calls) == 13
    assert Recall.objects.get().state == Recall.State.FINISHED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("well", [True, False])
def test_with_nothing_to_send_history_is_read_to_try_it(
    connected: Any, make_recall: Any, sandbox: Any, monkeypatch: pytest.MonkeyPatch, well: bool
) -> None:
    recall = make_recall([FIRST], "unknown", state="finished")
    recall.batches.update(check_at=timezone.now())
    circuit = fail(admission.circuit_of(recall.application), refused(401))
    Circuit.objects.update(probe_at=None)
    if not well:
        sandbox.set_faults([{"on": "history", "kind": "refuse", "code": 401}])
    checked = verify.check_due()
    circuit.refresh_from_db()
    assert (circuit.is_open, checked.calls) == (not well, int(well))
    # Not again within five seconds.
    assert len(sandbox.calls("history")) == (2 if well else 1)
    verify.check_due()
    assert len(sandbox.calls("history")) == (2 if well else 1)
