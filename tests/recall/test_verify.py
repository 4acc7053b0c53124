"""Verification of recalled messages against history, over real HTTP: gone, still visible, unknowable."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from moderation.applications.models import Application
from moderation.archive.models import Conversation
from moderation.audit.models import AuditEntry
from moderation.goeasy.client import Group
from moderation.outbox import admission
from moderation.outbox.models import Attempt, CallSlot, Circuit
from moderation.outbox.sender import send_due
from recall import decisions, services, verify
from recall.models import Recall, RecallBatch, RecallItem
from tests.outbox.calls import lease_ran_out, make_batch, set_state

pytestmark = pytest.mark.django_db(transaction=True)

FIRST = 1_700_000_000_000
PAIR = {"kind": "private", "user_a": "user-a", "user_b": "user-b"}
NO_EFFECT = {"on": "recall", "kind": "refuse", "code": 200, "content": "OK"}
NO_ANSWER = {"on": "recall", "kind": "drop_before"}
ANSWER_LOST = {"on": "recall", "kind": "drop_after"}


@pytest.fixture(autouse=True)
def looked_for_at_once(settings: Any) -> None:
    settings.RECALL_VERIFY_AFTER = 0


def seen(recall: Recall) -> list[str]:
    return list(recall.items.order_by("timestamp").values_list("verification", flat=True))


def batch_of(recall: Recall) -> RecallBatch:
    return recall.batches.get()


def due_now(recall: Recall) -> None:
    recall.batches.filter(check_at__isnull=False).update(check_at=timezone.now())


def test_an_accepted_call_is_verified_as_gone(send: Any, messages: Any) -> None:
    recall = send(messages(25))
    assert verify.check_due() == verify.Checked(calls=2, gone=25)
    assert set(seen(recall)) == {"gone"}
    assert not recall.batches.filter(check_at__isnull=False).exists()
    entries = AuditEntry.objects.filter(recall=recall.pk, action="recall.verified").order_by("batch")
    assert [(entry.actor, entry.batch, entry.attempt, len(entry.detail["gone"])) for entry in entries] == [
        ("(worker)", 0, 1, 20),
        ("(worker)", 1, 1, 5),
    ]


def test_it_is_read_once_and_one_reading_serves_all_calls_of_a_conversation(
    send: Any, messages: Any, sandbox: Any
) -> None:
    send(messages(60))
    before = len(sandbox.calls("history"))
    verify.check_due()
    # A page's oldest millisecond may go on to the next page: 60 messages are three pages, and two show the end.
    assert len(sandbox.calls("history")) - before == 5
    assert verify.check_due() == verify.Checked()
    assert len(sandbox.calls("history")) - before == 5


def test_nothing_is_read_where_that_is_switched_off(send: Any, messages: Any, settings: Any) -> None:
    settings.RECALL_VERIFY = False
    recall = send(messages(3))
    assert verify.check_due() == verify.Checked()
    assert set(seen(recall)) == {""}


def test_a_message_still_visible_after_acceptance_can_be_sent_again_and_the_first_attempt_stays(
    send: Any, messages: Any, moderator: Any
) -> None:
    recall = send(messages(2), NO_EFFECT)
    assert verify.check_due() == verify.Checked(calls=1, still_visible=2)
    batch = batch_of(recall)
    assert (batch.state, batch.settlement) == ("accepted", "visible")
    assert decisions.retry_size(Recall.objects.filter(pk=recall.pk))
    assert decisions.retry_recall(recall, moderator) == 1
    assert set(seen(recall)) == {""}
    send_due(recall.application)
    assert verify.check_due() == verify.Checked(calls=1, gone=2)
    batch = batch_of(recall)
    assert (batch.state, batch.settlement, batch.call.attempt_count) == ("accepted", "", 2)
    assert Attempt.objects.filter(call=batch.call, outcome="accepted").count() == 2
    recall.refresh_from_db()
    assert not decisions.retry_size(Recall.objects.filter(pk=recall.pk))


def test_an_answer_that_was_lost_stays_unknown_and_history_settles_it_as_gone(
    send: Any, messages: Any, sandbox: Any, moderator: Any
) -> None:
    recall = send(messages(3), ANSWER_LOST)
    assert batch_of(recall).state == "unknown"
    assert verify.check_due() == verify.Checked(calls=1, gone=3)
    batch = batch_of(recall)
    assert (batch.state, batch.settlement) == ("unknown", "gone")
    assert not RecallBatch.objects.filter(verify.NEEDS_A_PERSON).exists()
    for refused in (
        lambda: decisions.retry_recall(recall, moderator),
        lambda: decisions.settle_unknown(recall, moderator, send_again=True, note="again"),
    ):
        with pytest.raises(services.NotPossible):
            refused()
    assert len(sandbox.calls("recall")) == 1


def test_an_unknown_one_is_not_sent_again_before_history_shows_that_it_had_no_effect(
    send: Any, messages: Any, sandbox: Any, moderator: Any
) -> None:
    recall = send(messages(3), NO_ANSWER)
    with pytest.raises(services.NotPossible):
        decisions.retry_recall(recall, moderator)
    assert verify.check_due() == verify.Checked(calls=1, still_visible=3)
    send_due(recall.application)
    assert len(sandbox.calls("recall")) == 1
    decisions.retry_recall(recall, moderator)
    send_due(recall.application)
    assert (batch_of(recall).state, len(sandbox.calls("recall"))) == ("accepted", 2)
    attempts = Attempt.objects.filter(call__recall_batch__recall=recall).order_by("number")
    assert list(attempts.values_list("outcome", flat=True)) == ["unknown", "accepted"]


def test_one_message_that_is_left_at_a_timestamp_makes_it_still_visible(send: Any, messages: Any, sandbox: Any) -> None:
    timestamps = messages(2)
    recall = send(timestamps)
    sandbox.add_messages(
        PAIR, [{"timestamp": timestamps[0], "senderId": "user-b", "type": "text", "payload": {"text": "late"}}]
    )
    assert verify.check_due() == verify.Checked(calls=1, gone=1, still_visible=1)
    assert seen(recall) == ["still visible", "gone"]


def test_a_known_message_that_history_no_longer_shows_is_gone_where_history_reaches_past_it(
    send: Any, messages: Any, make_message: Any, private: Conversation
) -> None:
    messages(1, first=FIRST - 5000)
    make_message(private, FIRST)
    recall = send([FIRST])
    verify.check_due()
    assert seen(recall) == ["gone"]


def test_the_absence_of_what_nobody_ever_saw_proves_nothing(send: Any, messages: Any) -> None:
    messages(1, first=FIRST - 5000)
    recall = send([FIRST])
    verify.check_due()
    assert seen(recall) == ["unknowable"]


def test_messages_older_than_history_are_unknowable_and_need_a_person_where_the_answer_was_lost(
    send: Any, messages: Any, make_message: Any, private: Conversation
) -> None:
    messages(1, first=FIRST + 5000)
    make_message(private, FIRST)
    recall = send([FIRST], ANSWER_LOST)
    verify.check_due()
    batch = batch_of(recall)
    assert (seen(recall), batch.state, batch.settlement, batch.check_at) == (["unknowable"], "unknown", "", None)
    assert RecallBatch.objects.filter(verify.NEEDS_A_PERSON).get() == batch


@pytest.mark.parametrize("cap", [20, 10])
def test_a_recall_is_verified_at_a_host_that_caps_its_pages(
    send: Any, messages: Any, sandbox: Any, monkeypatch: pytest.MonkeyPatch, cap: int
) -> None:
    original = sandbox.history
    monkeypatch.setattr(sandbox, "history", lambda query: (200, original(query)[1][:cap]))
    recall = send(messages(25))
    assert verify.check_due() == verify.Checked(calls=2, gone=25)
    assert set(seen(recall)) == {"gone"}


def test_a_message_that_cannot_be_read_does_not_prove_that_another_is_gone(
    send: Any,
    messages: Any,
    make_message: Any,
    private: Conversation,
    sandbox: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = messages(2)
    for timestamp in (first, second):
        make_message(private, timestamp)
    recall = send([second])
    original = sandbox.history

    def history(query: dict[str, str]) -> tuple[int, object]:
        """History with the recalled message in an unreadable form."""
        return 200, [{"ts": each["timestamp"]} if each["timestamp"] == second else each for each in original(query)[1]]

    monkeypatch.setattr(sandbox, "history", history)
    assert verify.check_due() == verify.Checked(calls=1, unknowable=1)
    assert seen(recall) == ["unknowable"]


@pytest.mark.parametrize("mark", [{"recalled": 1}, {"recalled": "true"}, {"rc": True}, {}], ids=str)
def test_a_recall_is_verified_in_whatever_form_history_marks_it(
    send: Any, messages: Any, sandbox: Any, monkeypatch: pytest.MonkeyPatch, mark: dict[str, Any]
) -> None:
    recall = send(messages(2))
    original = sandbox.history

    def history(query: dict[str, str]) -> tuple[int, object]:
        """Recalled messages without payload, times as text."""
        return 200, [
            {name: each[name] for name in ("messageId", "senderId", "type")}
            | {"timestamp": str(each["timestamp"]), "recaller": {"id": "s"}}
            | mark
            for each in original(query)[1]
        ]

    monkeypatch.setattr(sandbox, "history", history)
    assert verify.check_due() == verify.Checked(calls=1, gone=2)
    assert seen(recall) == ["gone", "gone"]


def test_history_that_cannot_be_read_is_read_again_later_and_at_last_nothing_can_be_known(
    send: Any, messages: Any, sandbox: Any
) -> None:
    recall = send(messages(2))
    sandbox.set_faults([{"on": "history", "kind": "status", "status": 500}])
    waits = []
    for _look in range(verify.MAX_CHECKS - 1):
        due_now(recall)
        assert verify.check_due() == verify.Checked(calls=1, unavailable=2)
        batch = batch_of(recall)
        assert batch.check_at is not None
        waits.append(round((batch.check_at - timezone.now()).total_seconds()))
        assert seen(recall) == ["", ""]
    assert waits == [30, 60, 120, 240, 480]
    due_now(recall)
    assert verify.check_due() == verify.Checked(calls=1, unknowable=2)
    assert (batch_of(recall).check_at, set(seen(recall))) == (None, {"unknowable"})
    entry = AuditEntry.objects.get(recall=recall.pk, action="recall.verified")
    assert entry.detail["problem"]


def test_only_one_of_two_workers_takes_a_batch(send: Any, messages: Any) -> None:
    recall = send(messages(1))
    first, second = batch_of(recall), batch_of(recall)
    assert verify.take(first)
    assert not verify.take(second)


def test_a_check_holds_one_slot_of_the_application_and_releases_it(
    send: Any, messages: Any, sandbox: Any, application: Application
) -> None:
    send(messages(1))
    held: list[int] = []

    def look(call: dict[str, Any]) -> None:
        if call["endpoint"] == "history":
            held.append(CallSlot.objects.exclude(held_by="").count())

    sandbox.on_call = look
    verify.check_due()
    assert set(held) == {1}
    assert not CallSlot.objects.exclude(held_by="").exists()


def test_no_check_starts_while_all_slots_are_taken(send: Any, messages: Any, application: Application) -> None:
    recall = send(messages(1))
    admission.take_slots(application, "somebody else")
    assert verify.check_due() == verify.Checked()
    admission.release_slots("somebody else")
    assert verify.check_due() == verify.Checked(calls=1, gone=1)
    assert seen(recall) == ["gone"]


def test_an_application_whose_circuit_is_open_does_not_keep_others_waiting(
    send: Any, messages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recall = send(messages(1))
    monkeypatch.setattr(verify, "MAX_BATCHES", 1)
    ill = Application.objects.create(slug="ill", name="Ill")
    of_ill = Recall.objects.create(
        application=ill,
        conversation=Conversation.objects.open(ill, Group("g")),
        actor=recall.actor,
        reason=recall.reason,
    )
    make_batch(of_ill, state="unknown", check_at=timezone.now() - timedelta(days=1))
    circuit = admission.circuit_of(ill)
    admission.open_circuit(circuit, Circuit.Reason.FAILING, "read_timeout")
    assert verify.check_due() == verify.Checked(calls=1, gone=1)


def test_a_decision_made_while_history_was_read_stands(send: Any, messages: Any, sandbox: Any, moderator: Any) -> None:
    recall = send(messages(1), ANSWER_LOST)
    # Tried once before, when history could not be read.
    recall.batches.update(checks=1)

    def decide(call: dict[str, Any]) -> None:
        if call["endpoint"] == "history":
            decisions.settle_unknown(recall, moderator, send_again=False, note="asked the users")

    sandbox.on_call = decide
    verify.check_due()
    batch = batch_of(recall)
    assert (batch.settlement, batch.settled_by, batch.check_at) == ("decided", "mo", None)
    assert seen(recall) == [""]


def reconcile() -> dict[str, int]:
    out = StringIO()
    call_command("reconcile", "--json", stdout=out)
    return json.loads(out.getvalue())  # type: ignore[no-any-return]


def test_reconcile_finds_what_a_dead_process_left_open_and_what_history_proves_and_sends_nothing(
    send: Any, messages: Any, sandbox: Any
) -> None:
    timestamps = messages(6)
    gone, visible = send(timestamps[:2], ANSWER_LOST), send(timestamps[2:4], NO_ANSWER)
    lost = send(timestamps[4:])
    batch = batch_of(lost)
    Attempt.objects.filter(call=batch.call).update(outcome="open", ended_at=None)
    set_state(lost.batches.all(), "sending")
    lease_ran_out()
    calls = len(sandbox.calls("recall"))
    assert reconcile() == {
        "orphans": 1,
        "calls": 3,
        "gone": 4,
        "still_visible": 2,
        "unknowable": 0,
        "unavailable": 0,
    }
    assert len(sandbox.calls("recall")) == calls
    assert [batch_of(recall).settlement for recall in (gone, visible, lost)] == ["gone", "visible", "gone"]


def test_reconcile_goes_on_until_all_was_read_however_many_pages_that_takes(
    send: Any, messages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "MAX_PAGES", 3)
    recall = send(messages(200), {**ANSWER_LOST, "times": 10})
    assert recall.batches.filter(state="unknown").count() == 10
    document = reconcile()
    assert (document["calls"], document["gone"], document["unavailable"]) == (10, 200, 0)
    assert RecallItem.objects.filter(verification="gone").count() == 200
    assert AuditEntry.objects.filter(recall=recall.pk, action="recall.verified").count() == 10


def test_reconcile_says_what_it_could_not_read_and_leaves_it_due(send: Any, messages: Any, sandbox: Any) -> None:
    recall = send(messages(2), ANSWER_LOST)
    sandbox.set_faults([{"on": "history", "kind": "status", "status": 503}])
    assert reconcile() == {"orphans": 0, "calls": 1, "gone": 0, "still_visible": 0, "unknowable": 0, "unavailable": 2}
    assert batch_of(recall).check_at is not None


def test_reconcile_ends_when_somebody_else_holds_all_slots(send: Any, messages: Any, application: Application) -> None:
    send(messages(1), ANSWER_LOST)
    admission.take_slots(application, "somebody else")
    document = reconcile()
    assert (document["calls"], document["gone"], document["unavailable"]) == (1, 0, 1)


def test_reconcile_with_nothing_to_do_says_so_in_words(connected: Any) -> None:
    out = StringIO()
    call_command("reconcile", stdout=out)
    assert out.getvalue().splitlines()[:2] == [
        "Attempts that a dead process left open: 0, now unknown.",
        "Calls of unknown outcome that were looked for in history: 0.",
    ]


def test_a_message_taken_back_by_a_later_recall_is_no_longer_shown_as_visible(
    send: Any, messages: Any, moderator: Any
) -> None:
    timestamps = messages(2)
    first = send(timestamps, NO_EFFECT)
    verify.check_due()
    assert batch_of(first).settlement == "visible"
    send(timestamps)
    assert verify.check_due() == verify.Checked(calls=1, gone=2)
    assert (seen(first), batch_of(first).settlement) == (["gone", "gone"], "")
    first.refresh_from_db()
    assert not decisions.retry_size(Recall.objects.filter(pk=first.pk))
    entry = AuditEntry.objects.filter(recall=first.pk, action="recall.verified").latest("pk")
    assert entry.detail["gone"] == sorted(timestamps)
