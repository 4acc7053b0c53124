"""Recalls sent through the outbox to a GoEasy over real HTTP: what was sent, what is recorded."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from moderation.archive.models import Conversation
from moderation.audit.models import AuditEntry
from moderation.goeasy.destinations import AllowedHosts
from moderation.outbox import admission, retries
from moderation.outbox.models import Attempt, Call, Circuit
from moderation.outbox.sender import send_due
from recall import decisions, services
from recall.models import Evidence, Recall, RecallBatch, RecallItem
from tests.outbox.calls import call_fields
from tests.outbox.sent import FIRST, states

pytestmark = pytest.mark.django_db(transaction=True)


def actions(recall: Recall) -> list[str]:
    return list(AuditEntry.objects.filter(recall=recall.pk).order_by("pk").values_list("action", flat=True))


def test_45_timestamps_make_three_calls_with_the_documented_bodies(
    request_recall: Callable[..., Recall], sandbox: Any
) -> None:
    recall = request_recall(45)
    send_due(recall.application)
    recall.refresh_from_db()
    assert (recall.state, states(recall)) == ("finished", ["accepted"] * 3)
    bodies = sorted((call["body"] for call in sandbox.calls("recall")), key=lambda body: body["messages"][0])
    timestamps = [FIRST + number for number in range(45)]
    assert [body["messages"] for body in bodies] == [timestamps[:20], timestamps[20:40], timestamps[40:]]
    for body in bodies:
        assert body == {
            "appkey": "valid",
            "recaller": {"id": "support", "data": {"name": "Support"}},
            "userAId": "user-a",
            "userBId": "user-b",
            "messages": body["messages"],
        }


def test_no_call_arrives_without_its_committed_intent(request_recall: Callable[..., Recall], sandbox: Any) -> None:
    recall = request_recall(100)
    seen: list[bool] = []

    def look(call: dict[str, Any]) -> None:
        if call["endpoint"] != "recall":
            return
        first = call["body"]["messages"][0]
        try:
            # The server's own connection: it sees only what is committed.
            seen.append(
                Attempt.objects.filter(outcome="open", call__recall_batch__items__timestamp=first).exists()
                and any(
                    entry.timestamps[0] == first
                    for entry in AuditEntry.objects.filter(recall=recall.pk, action="recall.sending")
                )
            )
        finally:
            connection.close()

    sandbox.on_call = look
    send_due(recall.application)
    assert seen == [True] * 5


def test_every_step_leaves_an_audit_entry_with_the_response_code(
    request_recall: Callable[..., Recall],
) -> None:
    recall = request_recall(21)
    send_due(recall.application)
    assert sorted(actions(recall)) == [
        "recall.answered",
        "recall.answered",
        "recall.requested",
        "recall.sending",
        "recall.sending",
    ]
    answered = AuditEntry.objects.filter(recall=recall.pk, action="recall.answered")
    assert {(entry.actor, entry.http_status, entry.response_code, entry.response_content) for entry in answered} == {
        ("mo", 200, 200, "OK")
    }
    sending = AuditEntry.objects.filter(recall=recall.pk, action="recall.sending").order_by("pk")[0]
    assert sending.request["messages"] == [FIRST + number for number in range(20)]
    assert (sending.kind, sending.user_a, sending.user_b) == ("private", "user-a", "user-b")


def test_the_key_is_in_no_row(request_recall: Callable[..., Recall], sandbox: Any) -> None:
    send_due(request_recall(3).application)
    for entry in AuditEntry.objects.all():
        assert sandbox.appkey not in json.dumps([entry.request, entry.detail, entry.response_content])


def test_the_evidence_is_kept_before_the_first_call(
    request_recall: Callable[..., Recall], make_message: Callable[..., Any], private: Conversation
) -> None:
    message = make_message(private, FIRST, payload={"text": "垃圾 <script>"})
    twin = make_message(private, FIRST, payload={"text": "another in the same millisecond"})
    recall = request_recall(2)
    kept = {evidence.message_id: evidence for evidence in Evidence.objects.filter(item__recall=recall)}
    assert set(kept) == {message.message_id, twin.message_id}
    assert kept[message.message_id].raw == message.raw
    assert kept[message.message_id].sha256 == message.sha256


def test_the_log_commits_to_the_evidence_without_telling_what_it_is(
    request_recall: Callable[..., Recall], make_message: Callable[..., Any], private: Conversation
) -> None:
    texts = [make_message(private, FIRST + number, payload={"text": "same"}).raw for number in (0, 1)]
    recall = request_recall(3)
    # As evidence of an older version: without a salt.
    Evidence.objects.filter(item__timestamp=FIRST + 1).update(salt="", commitment="")
    send_due(recall.application)
    first, second = Evidence.objects.order_by("item__timestamp")
    evidence = AuditEntry.objects.get(action="recall.sending").detail["evidence"]
    assert first.commitment == hashlib.sha256((first.salt + texts[0]).encode()).hexdigest()
    assert evidence == [
        {"timestamp": FIRST, "message_id": first.message_id, "commitment": first.commitment},
        {"timestamp": FIRST + 1, "message_id": second.message_id, "sha256": second.sha256},
    ]
    assert len(first.salt) == 64


def test_messages_missing_from_the_archive_are_looked_up_in_history_for_evidence(
    request_recall: Callable[..., Recall], sandbox: Any
) -> None:
    conversation = {"kind": "private", "user_a": "user-a", "user_b": "user-b"}
    sandbox.add_messages(
        conversation,
        [
            {
                "timestamp": FIRST + number,
                "senderId": "user-b",
                "type": "text",
                "payload": {"text": str(number)},
            }
            for number in range(100)
        ],
    )
    recall = request_recall(3)
    assert Evidence.objects.filter(item__recall=recall).count() == 3


def test_the_same_submission_twice_is_one_recall(request_recall: Callable[..., Recall], sandbox: Any) -> None:
    submission = uuid.uuid4()
    first, second = request_recall(submission=submission), request_recall(submission=submission)
    send_due(first.application)
    send_due(second.application)
    assert first == second
    assert len(sandbox.calls("recall")) == 1


def test_a_submission_that_made_another_recall_is_refused_not_swallowed(
    request_recall: Callable[..., Recall], make_user: Any
) -> None:
    submission = uuid.uuid4()
    request_recall(submission=submission)
    for change in ({"timestamps": [FIRST + 7]}, {"actor": make_user("somebody-else", "lead")}, {"note": "changed"}):
        with pytest.raises(services.NotPossible):
            request_recall(submission=submission, **change)
    assert Recall.objects.count() == 1


def test_a_refused_key_stops_the_recall_at_that_call_and_the_rest_can_be_retried(
    request_recall: Callable[..., Recall], sandbox: Any, moderator: Any
) -> None:
    sandbox.set_faults([{"on": "recall", "kind": "refuse", "code": 401, "content": "Unauthorized"}])
    recall = request_recall(100)
    send_due(recall.application)
    recall.refresh_from_db()
    assert (recall.state, recall.stop_reason) == ("stopped", "key_refused")
    assert states(recall) == ["refused", *["pending"] * 4]
    assert len(sandbox.calls("recall")) == 1
    sandbox.clear_faults()
    decisions.retry_recall(recall, moderator)
    send_due(recall.application)
    recall.refresh_from_db()
    assert (recall.state, states(recall)) == ("finished", ["accepted"] * 5)
    first = recall.batches.get(index=0)
    assert list(first.attempts.values_list("outcome", "response_code")) == [
        ("refused", 401),
        ("accepted", 200),
    ]


@pytest.mark.parametrize(
    ("fault", "effect"),
    [({"kind": "drop_before"}, False), ({"kind": "drop_after"}, True), ({"kind": "half"}, None)],
)
def test_a_lost_answer_is_unknown_and_is_never_sent_again(
    request_recall: Callable[..., Recall],
    sandbox: Any,
    moderator: Any,
    fault: dict[str, Any],
    effect: bool | None,
) -> None:
    sandbox.set_faults([{"on": "recall", **fault, "times": 1}])
    recall = request_recall(1)
    send_due(recall.application)
    send_due(recall.application)
    recall.refresh_from_db()
    assert (recall.state, states(recall)) == ("finished", ["unknown"])
    assert actions(recall)[-1] == "recall.unanswered"
    assert len(sandbox.calls("recall")) == 1
    with pytest.raises(services.NotPossible):
        decisions.retry_recall(recall, moderator)


def test_a_read_time_out_is_unknown(request_recall: Callable[..., Recall], sandbox: Any, settings: Any) -> None:
    settings.GOEASY_READ_TIMEOUT = 0.3
    sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 1500}])
    recall = request_recall(1)
    send_due(recall.application)
    assert states(recall) == ["unknown"]


def test_a_refusal_is_refused_with_its_code(request_recall: Callable[..., Recall], sandbox: Any) -> None:
    sandbox.set_faults([{"on": "recall", "kind": "refuse", "code": 418, "content": "no tea", "times": 1}])
    recall = request_recall(41)
    send_due(recall.application)
    recall.refresh_from_db()
    assert recall.state == "finished"
    assert sorted(states(recall)) == ["accepted", "accepted", "refused"]
    attempt = Attempt.objects.get(call__recall_batch__recall=recall, outcome="refused")
    assert (attempt.response_code, attempt.response_content) == (418, "no tea")


def test_a_call_that_goeasy_puts_off_is_sent_again_after_retry_after(
    request_recall: Callable[..., Recall], sandbox: Any
) -> None:
    sandbox.set_faults([{"on": "recall", "kind": "status", "status": 429, "retry_after": 0, "times": 2}])
    recall = request_recall(1)
    send_due(recall.application)
    assert states(recall) == ["accepted"]
    attempts = Attempt.objects.filter(call__recall_batch__recall=recall).order_by("number")
    assert list(attempts.values_list("outcome", flat=True)) == ["refused", "refused", "accepted"]


def test_a_call_that_never_left_stays_unsent_and_stops_the_recall(
    request_recall: Callable[..., Recall], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(admission, "PROBE_EVERY", 0.01)
    settings.GOEASY_REST_HOST = "http://127.0.0.1:9"
    recall = request_recall(21)
    send_due(recall.application)
    recall.refresh_from_db()
    assert (recall.state, recall.stop_reason) == ("stopped", "unreachable")
    assert states(recall) == ["pending", "pending"]
    assert set(Attempt.objects.values_list("outcome", flat=True)) == {"not_sent"}


def test_a_host_that_is_not_allowed_stops_the_recall_at_once_and_the_rest_can_be_sent_when_it_is(
    request_recall: Callable[..., Recall], sandbox: Any, settings: Any, moderator: Any, client: Any
) -> None:
    allowed, settings.GOEASY_ALLOWED_HOSTS = settings.GOEASY_ALLOWED_HOSTS, AllowedHosts.parse("*.goeasy.io")
    recall = request_recall(21)
    send_due(recall.application)
    recall.refresh_from_db()
    assert (recall.state, recall.stop_reason, states(recall)) == ("stopped", "not_allowed", ["pending", "pending"])
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.problem) == ("not_sent", "host_not_allowed")
    assert sandbox.calls("recall") == []
    # It says nothing about GoEasy's health.
    assert not admission.circuit_of(recall.application).failures
    client.force_login(moderator)
    page = client.get(recall.get_absolute_url()).content.decode()
    assert "The key was not sent" in page
    assert "GOEASY_ALLOWED_HOSTS" in page
    settings.GOEASY_ALLOWED_HOSTS = allowed
    decisions.retry_recall(recall, moderator)
    send_due(recall.application)
    assert states(recall) == ["accepted", "accepted"]


@pytest.mark.parametrize("why", ["key_refused", "failing"])
def test_a_host_that_is_not_allowed_is_reported_even_while_goeasy_is_not_called(
    request_recall: Callable[..., Recall], sandbox: Any, settings: Any, why: str
) -> None:
    settings.GOEASY_ALLOWED_HOSTS = AllowedHosts.parse("*.goeasy.io")
    recall = request_recall(1)
    circuit = admission.circuit_of(recall.application)
    Circuit.objects.filter(pk=circuit.pk).update(
        opened_at=timezone.now(), reason=why, last_problem="read_timeout", failures=10, probe_at=timezone.now()
    )
    send_due(recall.application)
    recall.refresh_from_db()
    assert (recall.state, recall.stop_reason) == ("stopped", "not_allowed")
    assert admission.circuit_of(recall.application).is_open
    assert sandbox.calls() == []


def test_before_its_time_nothing_leaves_and_it_can_be_called_off(
    request_recall: Callable[..., Recall], sandbox: Any, moderator: Any
) -> None:
    recall = request_recall(3, grace_seconds=60)
    send_due(recall.application)
    recall.refresh_from_db()
    assert recall.state == "waiting"
    assert decisions.cancel_recall(recall, moderator) == 3
    recall.refresh_from_db()
    assert (recall.state, states(recall)) == ("cancelled", ["cancelled"])
    send_due(recall.application)
    assert sandbox.calls("recall") == []
    assert actions(recall) == ["recall.requested", "recall.cancelled"]


def test_a_sent_call_cannot_be_called_off(request_recall: Callable[..., Recall], moderator: Any) -> None:
    recall = request_recall(1)
    send_due(recall.application)
    with pytest.raises(services.NotPossible):
        decisions.cancel_recall(recall, moderator)


def test_a_cancelled_call_is_not_sent_again_when_goeasy_puts_it_off(
    request_recall: Callable[..., Recall], sandbox: Any, moderator: Any, settings: Any
) -> None:
    settings.GOEASY_CONCURRENCY = 1
    sandbox.set_faults([{"on": "recall", "kind": "status", "status": 429, "retry_after": 0, "times": 1}])
    recall = request_recall(45)

    def call_off(call: dict[str, Any]) -> None:
        if call["endpoint"] == "recall":
            try:
                decisions.cancel_recall(recall, moderator)
            finally:
                connection.close()

    sandbox.on_call = call_off
    send_due(recall.application)
    recall.refresh_from_db()
    assert (recall.state, states(recall)) == ("finished", ["refused", "cancelled", "cancelled"])
    assert len(sandbox.calls("recall")) == 1


def test_who_sends_again_is_recorded_and_has_every_attempt_anew(
    request_recall: Callable[..., Recall], sandbox: Any, make_user: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(admission, "PROBE_EVERY", 0.01)
    address, settings.GOEASY_REST_HOST = settings.GOEASY_REST_HOST, "http://127.0.0.1:9"
    recall = request_recall(1)
    send_due(recall.application)
    settings.GOEASY_REST_HOST = address
    sandbox.set_faults([{"on": "recall", "kind": "status", "status": 429, "retry_after": 0, "times": 3}])
    decisions.retry_recall(recall, make_user("lea", "lead"))
    send_due(recall.application)
    assert states(recall) == ["accepted"]
    entries = AuditEntry.objects.filter(recall=recall.pk).order_by("pk").values_list("action", "actor")
    assert entries[0] == ("recall.requested", "mo")
    assert entries[len(entries) - 1] == ("recall.answered", "lea")


@pytest.mark.parametrize("body", ["", "{}", '{"appkey":"•••","messages":[1', '{"appkey":"BC-0","messages":[]}'])
def test_a_call_that_cannot_be_sent_as_it_is_stops_the_recall_and_leaves_others_alone(
    request_recall: Callable[..., Recall], sandbox: Any, body: str
) -> None:
    recall = request_recall(1)
    # Only a manual change could leave it like this.
    Call.objects.update(body=body)
    other = request_recall(1, timestamps=[FIRST + 7])
    send_due(recall.application)
    recall.refresh_from_db()
    assert (recall.state, recall.stop_reason, states(recall)) == ("stopped", "invalid", ["pending"])
    assert AuditEntry.objects.get(action="recall.stopped").actor == "(worker)"
    assert states(other) == ["accepted"]
    assert [call["body"]["messages"] for call in sandbox.calls("recall")] == [[FIRST + 7]]


def test_the_database_refuses_a_batch_that_is_no_batch(request_recall: Callable[..., Recall]) -> None:
    recall = request_recall(20)
    batch = recall.batches.get()

    def another() -> Call:
        return Call.objects.create(**call_fields(recall, 1, 1))

    for wrong in (
        lambda: RecallItem.objects.create(recall=recall, batch=batch, position=20, timestamp=FIRST + 99),
        lambda: RecallItem.objects.create(recall=recall, batch=batch, position=0, timestamp=FIRST + 99),
        lambda: RecallItem.objects.create(recall=recall, batch=batch, position=5, timestamp=FIRST),
        lambda: RecallBatch.objects.create(call=another(), recall=recall, index=1, size=21),
        lambda: RecallBatch.objects.create(call=another(), recall=recall, index=0, size=1),
        lambda: Recall.objects.filter(pk=recall.pk).update(state="stopped"),
        lambda: [
            Attempt.objects.create(call=batch.call, number=number, started_at=timezone.now()) for number in (1, 2)
        ],
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            wrong()
