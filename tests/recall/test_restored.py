"""Recalls after a restore: they are stopped, and finish when no call is unknown any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from moderation.applications.problems import problem_message
from moderation.outbox.models import Attempt
from moderation.outbox.recovery import lose_unfinished
from moderation.registry import restored
from recall import decisions, services, verify
from recall.models import Recall, RecallBatch

pytestmark = pytest.mark.django_db

FIRST = 1_700_000_000_000
States = RecallBatch.State


@pytest.fixture
def stopped(make_recall: Callable[..., Recall]) -> Recall:
    """A recall of two calls that waited when the backup was made."""
    recall = make_recall(list(range(FIRST, FIRST + 25)))
    assert lose_unfinished() == {"recalls_stopped": 1}
    recall.refresh_from_db()
    return recall


def see(recall: Recall, index: int, verdict: str) -> None:
    """Record a verification of a call's messages."""
    batch = recall.batches.select_related("recall__application", "recall__conversation").get(index=index)
    verdicts = dict.fromkeys(batch.items.values_list("timestamp", flat=True), verdict)
    verify.record_check(batch, verdicts, "", verify.Checked())


def test_a_restore_signal_calls_the_receiver() -> None:
    assert lose_unfinished in [receiver for receiver, _counts in restored.send(sender=None)]


def test_a_recall_with_an_outcome_for_every_call_is_left_as_it_is(make_recall: Callable[..., Recall]) -> None:
    sent = make_recall([FIRST], "accepted", state="sending")
    refused = make_recall([FIRST + 1], "refused", state="stopped", stop_reason="key_refused")
    called_off = make_recall([FIRST + 2], "cancelled", state="cancelled")
    assert lose_unfinished() == {"recalls_stopped": 0}
    for recall, state in ((sent, "sending"), (refused, "stopped"), (called_off, "cancelled")):
        recall.refresh_from_db()
        assert recall.state == state
    refused.refresh_from_db()
    assert refused.stop_reason == "key_refused"


def test_the_page_does_not_say_that_the_request_left(stopped: Recall, client: Client, moderator: Any) -> None:
    client.force_login(moderator)
    text = client.get(stopped.get_absolute_url()).content.decode()
    assert "A backup was put back." in text
    assert "It is not known whether they were sent." in text
    assert "the request left" not in text and "could not be reached" not in text
    home = client.get("/").content.decode()
    assert "what was sent since" in home and "could not be reached" not in home


def test_the_recall_finishes_when_history_shows_that_everything_is_gone(stopped: Recall) -> None:
    see(stopped, 0, "gone")
    stopped.refresh_from_db()
    assert (stopped.state, stopped.stop_reason) == ("stopped", "restored")
    see(stopped, 1, "gone")
    stopped.refresh_from_db()
    assert (stopped.state, stopped.stop_reason) == ("finished", "")


def test_the_recall_finishes_when_a_person_has_decided_on_the_rest(stopped: Recall, moderator: Any) -> None:
    assert not decisions.retry_size(Recall.objects.filter(pk=stopped.pk))
    with pytest.raises(services.NotPossible, match="Nothing is sent by itself after a restore"):
        decisions.cancel_recall(stopped, moderator)
    with pytest.raises(services.NotPossible, match="still being checked"):
        decisions.settle_unknown(stopped, moderator, send_again=False, note="They were sent.")
    see(stopped, 0, "gone")
    see(stopped, 1, "unknowable")
    assert decisions.settle_unknown(stopped, moderator, send_again=False, note="They were sent.") == 1
    stopped.refresh_from_db()
    assert (stopped.state, stopped.stop_reason) == ("finished", "")


def test_a_message_that_history_still_shows_can_be_sent_again(stopped: Recall, client: Client, moderator: Any) -> None:
    see(stopped, 0, "gone")
    see(stopped, 1, "still visible")
    stopped.refresh_from_db()
    assert stopped.state == "stopped"
    client.force_login(moderator)
    calls = client.get(stopped.get_absolute_url()).content.decode().partition('id="calls"')[2]
    assert "messages were removed" in calls and "still shows messages" in calls
    assert decisions.retry_recall(stopped, moderator) == 1
    assert list(stopped.batches.values_list("state", flat=True)) == [States.UNKNOWN, States.PENDING]


def test_an_open_attempt_says_why_its_outcome_is_unknown(make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST], "sending", state="sending")
    Attempt.objects.create(call=recall.batches.get().call, number=1, started_at=timezone.now())
    lose_unfinished()
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.problem) == ("unknown", "restored")
    assert "when the backup was made" in str(problem_message(attempt.problem))
