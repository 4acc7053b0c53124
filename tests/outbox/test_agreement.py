"""A batch repeats its call's state: both agree after every outcome, and the check detects a difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from moderation.outbox import admission, retries
from moderation.outbox.models import Call
from moderation.outbox.recovery import lose_unfinished, recover_orphans
from moderation.outbox.sender import send_due
from recall import decisions, verify
from recall.effect import STATE_OF_BATCH
from recall.models import Recall, RecallBatch
from tests.outbox.calls import disagreements, lease_ran_out

pytestmark = pytest.mark.django_db(transaction=True)

FIRST = 1_700_000_000_000
# What GoEasy does, and the states that the call and its batch come to.
OUTCOMES: dict[str, tuple[dict[str, Any], str, str]] = {
    "accepted": ({}, "accepted", "accepted"),
    "accepted unusually": ({"kind": "refuse", "code": 200, "content": "some are gone"}, "accepted", "accepted"),
    "refused": ({"kind": "refuse", "code": 418}, "refused", "refused"),
    "refused for its key": ({"kind": "refuse", "code": 401}, "refused", "refused"),
    "put off for ever": ({"kind": "status", "status": 429, "retry_after": 0}, "refused", "refused"),
    "failed": ({"kind": "refuse", "code": 500}, "unknown", "unknown"),
    "without an answer": ({"kind": "drop_before"}, "unknown", "unknown"),
    "half an answer": ({"kind": "half"}, "unknown", "unknown"),
}


def states(recall: Recall) -> set[tuple[str, str]]:
    return set(recall.batches.values_list("call__state", "state"))


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_by_every_answer_and_what_people_do_then_call_and_batch_agree(
    send: Callable[..., Recall],
    moderator: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    outcome: str,
) -> None:
    monkeypatch.setattr(retries, "MAX_ATTEMPTS", 2)
    settings.RECALL_VERIFY_AFTER = 0
    fault, of_call, of_batch = OUTCOMES[outcome]
    recall = send([FIRST], {"on": "recall", **fault} if fault else None)
    assert states(recall) == {(of_call, of_batch)}
    assert disagreements() == []
    verify.check_due()
    assert disagreements() == []
    admission.note_answer(admission.circuit_of(recall.application))
    if decisions.retry_size(Recall.objects.filter(pk=recall.pk)):
        decisions.retry_recall(recall, moderator)
        assert states(recall) == {("waiting", "pending")}
    elif of_batch == "unknown":
        decisions.settle_unknown(recall, moderator, send_again=True, note="again")
        assert states(recall) == {("waiting", "pending")}
    assert disagreements() == []
    send_due(recall.application)
    assert states(recall) == {("accepted", "accepted")}


def test_stopped_released_called_off_lost_and_restored_they_agree(
    request_recall: Callable[..., Recall], application: Any, moderator: Any, settings: Any
) -> None:
    key, settings.GOEASY_APPKEY = settings.GOEASY_APPKEY, ""
    recall, other, third = (request_recall(21, timestamps=range(at, at + 21)) for at in (FIRST, FIRST + 50, FIRST + 90))
    send_due(application)
    assert states(recall) == {("held", "pending")}
    settings.GOEASY_APPKEY = key
    recall.refresh_from_db()
    decisions.retry_recall(recall, moderator)
    assert states(recall) == {("waiting", "pending")}
    decisions.cancel_recall(recall, moderator)
    decisions.cancel_recall(other, moderator)
    assert states(recall) == states(other) == {("cancelled", "cancelled")}
    decisions.retry_recall(Recall.objects.get(pk=third.pk), moderator)
    first = Call.objects.filter(recall_batch__recall=third).order_by("position")[0]
    first.attempts.create(number=1, started_at=timezone.now())
    now = timezone.now()
    Call.objects.filter(pk=first.pk).update(state="sending", claimed_by="w", lease_until=now, attempt_count=1, tries=1)
    RecallBatch.objects.filter(pk=first.pk).update(state="sending")
    lease_ran_out()
    assert recover_orphans() == 1
    assert states(third) == {("unknown", "unknown"), ("waiting", "pending")}
    assert disagreements() == []
    lose_unfinished()
    assert states(third) == {("unknown", "unknown")}


def test_every_state_of_a_call_is_one_of_a_batch() -> None:
    assert set(STATE_OF_BATCH) >= set(Call.State.values)
    assert set(STATE_OF_BATCH.values()) == set(RecallBatch.State.values)


@pytest.mark.parametrize(
    "change",
    [
        lambda: RecallBatch.objects.update(state="refused"),
        lambda: Call.objects.update(state="unknown"),
        lambda: Call.objects.update(attempt_count=7),
        lambda: Call.objects.update(state="held"),
    ],
)
def test_a_difference_would_be_noticed(make_recall: Callable[..., Recall], change: Callable[[], int]) -> None:
    recall = make_recall([FIRST], "accepted", state="finished")
    assert disagreements() == []
    change()
    differences = disagreements()
    recall.batches.update(state="accepted")
    Call.objects.update(state="accepted", attempt_count=1)
    assert differences
