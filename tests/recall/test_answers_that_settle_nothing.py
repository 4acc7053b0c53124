"""What GoEasy answered and what it did are two things: 408 and 5xx, refusals, and acceptances that name failures."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from moderation.archive.models import Conversation, Message
from moderation.audit.ledger.ocsf import outcome
from moderation.audit.models import AuditEntry
from moderation.outbox.models import Attempt, Circuit
from recall import decisions, services, sweeps, verify
from recall.models import Recall, RecallBatch

from .conftest import FIRST

pytestmark = pytest.mark.django_db(transaction=True)

CASE = json.loads((Path(__file__).parent / "cases" / "r_code_408_after_effect.json").read_text())
TIMED_OUT = {"on": "recall", "kind": "refuse", "status": CASE["http"], **CASE["body"], "effect": True}
REFUSED = {"on": "recall", "kind": "refuse", "code": 400, "content": "wrong"}
REFUSED_AFTER_EFFECT = {**REFUSED, "effect": True}
SOME_FAILED = {"on": "recall", "kind": "refuse", "code": 200, "content": {"failed": [FIRST]}}


@pytest.fixture(autouse=True)
def history_is_read_at_once(settings: Any) -> None:
    settings.RECALL_VERIFY_AFTER = 0


def page_of(client: Client, recall: Recall) -> str:
    return " ".join(client.get(recall.get_absolute_url()).content.decode().split())


@pytest.mark.parametrize("code", [408, 500, 503, 507])
@pytest.mark.parametrize("status", [200, 400, 503])
def test_a_failure_after_the_effect_is_unknown_and_is_not_sent_again(
    send: Any, messages: Any, sandbox: Any, code: int, status: int
) -> None:
    recall = send(messages(3), {**TIMED_OUT, "code": code, "status": status})
    batch = recall.batches.get()
    attempt = Attempt.objects.get()
    assert (batch.state, batch.settlement) == ("unknown", "")
    assert (attempt.outcome, attempt.http_status, attempt.response_code) == ("unknown", status, code)
    assert attempt.response_content == CASE["body"]["content"]
    assert len(sandbox.calls("recall")) == 1
    assert verify.check_due() == verify.Checked(calls=1, gone=3)
    assert recall.batches.get().settlement == "gone"
    assert not decisions.retry_size(Recall.objects.filter(pk=recall.pk))


def test_a_failure_is_shown_as_unknown_everywhere(send: Any, messages: Any, client: Client, moderator: Any) -> None:
    recall = send(messages(3), TIMED_OUT)
    client.force_login(moderator)
    page = page_of(client, recall)
    assert "Outcome unknown for 3 messages." in page
    assert "Host unreachable or timeout" in page
    assert "still there" not in page
    assert "did not answer" not in page
    entry = AuditEntry.objects.get(action="recall.answered")
    assert (entry.response_code, entry.detail["outcome"], entry.detail["problem"]) == (408, "unknown", "failed")
    fields = {"action": entry.action, "response_code": 408, "detail": entry.detail}
    assert outcome(fields) == (0, 2)


def test_failures_in_a_row_count_against_goeasy_as_silence_does(send: Any, messages: Any) -> None:
    send(messages(3), {**TIMED_OUT, "times": 1})
    circuit = Circuit.objects.get()
    assert (circuit.failures, circuit.last_problem) == (1, "failed")


@pytest.mark.parametrize("code", [400, 404, 409])
def test_history_is_read_after_a_refusal_even_where_acceptances_are_not_verified(
    send: Any, messages: Any, code: int, settings: Any
) -> None:
    settings.RECALL_VERIFY = False
    recall = send(messages(2), {**REFUSED, "code": code})
    assert verify.check_due() == verify.Checked(calls=1, still_visible=2)
    batch = recall.batches.get()
    assert (batch.state, batch.settlement) == ("refused", "visible")
    assert decisions.retry_size(Recall.objects.filter(pk=recall.pk))


@pytest.mark.parametrize("code", [401, 403])
def test_history_is_not_read_after_a_refused_key(send: Any, messages: Any, code: int) -> None:
    recall = send(messages(2), {**REFUSED, "code": code})
    assert recall.batches.get().check_at is None


def test_a_refused_message_that_is_gone_is_not_offered_again(
    send: Any, messages: Any, client: Client, moderator: Any, private: Conversation
) -> None:
    recall = send(messages(2), REFUSED_AFTER_EFFECT)
    client.force_login(moderator)
    assert "Checking GoEasy’s history for whether those messages are still there…" in page_of(client, recall)
    assert verify.check_due() == verify.Checked(calls=1, gone=2)
    batch = recall.batches.get()
    assert (batch.state, batch.settlement) == ("refused", "gone")
    assert not decisions.retry_size(Recall.objects.filter(pk=recall.pk))
    with pytest.raises(services.NotPossible):
        decisions.retry_recall(recall, moderator)
    page = page_of(client, recall)
    assert "GoEasy’s history shows that those messages were removed all the same." in page
    assert "still there" not in page
    # Nor does a sweep take it for visible, where the archive has not learned that it is recalled.
    Message.objects.filter(conversation=private).update(recalled=False)
    planned = sweeps.plan_sweep(application=private.application, sender_id="user-a", since=0, until=FIRST * 2)
    assert (planned.timestamps, planned.left_out) == (0, 2)


def test_the_page_of_a_refusal_says_what_history_shows_and_nothing_else(
    send: Any, messages: Any, client: Client, moderator: Any
) -> None:
    visible = send(messages(2), REFUSED)
    unseen = send([FIRST + 90_000], REFUSED)
    verify.check_due()
    client.force_login(moderator)
    assert "GoEasy’s history still shows those messages." in page_of(client, visible)
    assert "It is not known whether all of those messages are still there." in page_of(client, unseen)
    # What is still visible needs a person; what nobody can know was refused, and that is said.
    assert [each.pk for each in client.get("/").context["needs"]] == [visible.pk]


def test_an_acceptance_that_names_failures_is_shown_and_read_for_in_history(
    send: Any, messages: Any, client: Client, moderator: Any, settings: Any
) -> None:
    settings.RECALL_VERIFY = False
    recall = send(messages(2), SOME_FAILED)
    batch = recall.batches.get()
    assert (batch.state, batch.settlement) == ("accepted", "unusual")
    assert AuditEntry.objects.get(action="recall.answered").detail["unusual"] is True
    client.force_login(moderator)
    page = page_of(client, recall)
    assert "GoEasy accepted 2 messages with an answer other than “OK”." in page
    assert f"{{&quot;failed&quot;:[{FIRST}]}}" in page
    assert "it took back" not in page
    assert "Checking GoEasy’s history…" in client.get("/").content.decode()
    assert verify.check_due() == verify.Checked(calls=1, still_visible=2)
    assert recall.batches.get().settlement == "visible"
    assert decisions.retry_size(Recall.objects.filter(pk=recall.pk))


def test_an_acceptance_that_names_failures_is_settled_once_history_shows_all_gone(send: Any, messages: Any) -> None:
    recall = send(messages(2), {**SOME_FAILED, "effect": True})
    assert verify.check_due() == verify.Checked(calls=1, gone=2)
    assert recall.batches.get().settlement == "gone"
    assert not RecallBatch.objects.filter(verify.NEEDS_A_PERSON).exists()


def test_a_person_decides_on_an_unusual_acceptance_that_history_does_not_settle(
    send: Any, messages: Any, client: Client, moderator: Any
) -> None:
    messages(1, first=FIRST + 5000)
    recall = send([FIRST], SOME_FAILED)
    verify.check_due()
    assert recall.batches.get().settlement == "unusual"
    client.force_login(moderator)
    assert "Decide on 1 message" in page_of(client, recall)
    assert decisions.settle_unknown(recall, moderator, send_again=True, note="it names the message") == 1
    assert recall.batches.get().state == "pending"


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (TIMED_OUT, 3, ""),
        (REFUSED, 1, "Call 1 was refused; history will show whether its messages are gone."),
        (SOME_FAILED, 3, f'Call 1 was accepted, but not with the usual OK: {{"failed":[{FIRST}]}}'),
    ],
)
def test_the_exit_status_shows_an_answer_that_settles_nothing(
    connected: Any,
    sandbox: Any,
    messages: Any,
    moderator: Any,
    reason: Any,
    fault: dict[str, Any],
    status: int,
    said: str,
) -> None:
    messages(1)
    sandbox.set_faults([fault])
    out, err = StringIO(), StringIO()
    arguments = ["--user-a", "user-a", "--user-b", "user-b", "--actor", "mo", "--reason", "spam", "--wait", str(FIRST)]
    with pytest.raises(SystemExit) as ended:
        call_command("recall", *arguments, stdout=out, stderr=err)
    assert ended.value.code == status
    assert said in err.getvalue()
