"""A person's decision on calls with an unknown outcome or with messages that are still visible."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from moderation.audit.models import AuditEntry
from moderation.outbox.models import Circuit
from recall import decisions, services
from recall.models import Recall, RecallBatch

from .reviewing import press

FIRST = 1_700_000_000_000
LONGEST_NOTE = 2_000


@pytest.fixture
def signed_in(client: Client, moderator: Any, application: Any) -> Client:
    client.force_login(moderator)
    return client


@pytest.fixture
def undecided(make_recall: Callable[..., Recall]) -> Recall:
    """A recall of one unanswered call that history does not settle."""
    recall = make_recall([FIRST], "unknown", state="finished")
    recall.batches.update(checks=6)
    return recall


def settle(client: Client, recall: Recall, **data: str) -> str:
    address = reverse("recall-settle", args=[recall.pk])
    answer = press(client, recall.get_absolute_url(), address, **{"decision": "leave", "note": "they left", **data})
    return " ".join(answer.content.decode().split())


def shown(client: Client, recall: Recall) -> str:
    return " ".join(client.get(recall.get_absolute_url()).content.decode().split())


def the_batch(recall: Recall) -> RecallBatch:
    return recall.batches.get(index=0)


def test_nothing_can_be_decided_before_history_was_read(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST], "unknown", state="finished")
    recall.batches.update(check_at=timezone.now() + timedelta(seconds=10))
    page = shown(signed_in, recall)
    assert "Checking GoEasy’s history…" in page
    assert "Record the decision" not in page
    for decision in ("again", "leave"):
        assert "history is still being checked" in settle(signed_in, recall, decision=decision)
    assert the_batch(recall).settlement == ""
    assert not AuditEntry.objects.filter(action="recall.settled").exists()


def test_a_call_left_as_it_is_stays_unknown_and_names_who_decided(signed_in: Client, undecided: Recall) -> None:
    assert undecided in signed_in.get("/").context["needs"]
    assert "Decide on 1 message" in shown(signed_in, undecided)
    assert "Your decision on 1 request was recorded." in settle(signed_in, undecided)
    batch = the_batch(undecided)
    assert (batch.state, batch.settlement, batch.settled_by) == ("unknown", "decided", "mo")
    page = shown(signed_in, undecided)
    assert "mo decided to leave it as is:" in page
    assert "they left" in page
    assert "Record the decision" not in page
    assert undecided not in signed_in.get("/").context["needs"]


def test_a_call_sent_again_is_a_new_attempt_of_the_person_who_decided(
    client: Client, lead: Any, undecided: Recall
) -> None:
    client.force_login(lead)
    settle(client, undecided, decision="again", note="the family asks for it")
    undecided.refresh_from_db()
    assert (undecided.state, undecided.sent_for) == ("sending", "lea")
    assert the_batch(undecided).state == "pending"
    assert [attempt.outcome for attempt in the_batch(undecided).attempts.all()] == ["unknown"]
    entry = AuditEntry.objects.get(action="recall.settled")
    assert (entry.actor, entry.timestamps) == ("lea", [FIRST])
    assert json.loads(entry.private.content) == {"note": "the family asks for it"}
    assert entry.detail["send_again"] is True


def test_messages_that_are_still_visible_can_be_left_too(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST], "accepted", state="finished")
    recall.batches.update(checks=1, settlement="visible")
    page = shown(signed_in, recall)
    assert "Finished, but GoEasy’s history still shows some of the messages." in page
    assert re.search(r"Retry\s+\d+\s+message", page)
    settle(signed_in, recall)
    assert the_batch(recall).settlement == "decided"
    assert "Send again" not in shown(signed_in, recall)


def test_a_call_settled_by_history_says_so_and_needs_no_decision(
    signed_in: Client, make_recall: Callable[..., Recall]
) -> None:
    recall = make_recall([FIRST], "unknown", state="finished")
    recall.batches.update(checks=1, settlement="gone")
    recall.items.update(verification="gone")
    page = shown(signed_in, recall)
    assert "The outcome of 1 message was unknown; that is settled." in page
    assert "History shows that the messages were removed" in page
    assert "1 verified as removed" in page
    assert "Record the decision" not in page
    assert recall not in signed_in.get("/").context["needs"]
    assert "Nothing of this recall needs a decision any more." in settle(signed_in, recall)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"decision": ""}, "Choose one"),
        ({"decision": "both"}, "not one of the available choices"),
        ({"note": ""}, "Write a note"),
        ({"note": "  \n "}, "Write a note"),
        ({"note": "x" * (LONGEST_NOTE + 1)}, "at most 2000 characters"),
    ],
)
def test_a_decision_that_lacks_something_decides_nothing_and_keeps_what_was_written(
    signed_in: Client, undecided: Recall, data: dict[str, str], said: str
) -> None:
    page = settle(signed_in, undecided, **data)
    assert said in page
    assert data.get("note", "they left").strip() in page
    assert the_batch(undecided).settlement == ""
    assert not AuditEntry.objects.filter(action="recall.settled").exists()


def test_a_note_of_2000_characters_in_two_bytes_each_is_taken(signed_in: Client, undecided: Recall) -> None:
    # A browser counts a line break as one character and sends two.
    note = "撤回\n" + "说" * (LONGEST_NOTE - 3)
    assert "Your decision on" in settle(signed_in, undecided, note=note.replace("\n", "\r\n"))
    assert the_batch(undecided).settlement_note == note


def test_a_recall_under_way_cannot_be_decided_on(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST + n for n in range(25)], "unknown", state="sending")
    recall.batches.filter(index=0).update(checks=1)
    assert "still in progress" in settle(signed_in, recall)


def test_a_finished_recall_cannot_be_called_off(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST], "accepted", state="finished")
    answer = signed_in.post(reverse("recall-cancel", args=[recall.pk]), follow=True)
    assert "nothing is left to cancel" in answer.content.decode()
    recall.refresh_from_db()
    assert recall.state == "finished"
    assert not AuditEntry.objects.filter(action="recall.cancelled").exists()


def test_an_accepted_call_cannot_be_sent_again(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST], "accepted", state="finished")
    answer = signed_in.post(reverse("recall-retry", args=[recall.pk]), follow=True)
    assert "Nothing of this recall was refused" in answer.content.decode()
    assert the_batch(recall).state == "accepted"


def test_the_page_says_that_calls_are_held_back(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST], state="sending")
    Circuit.objects.create(application=recall.application, opened_at=timezone.now(), reason="failing")
    assert "GoEasy failed many times in a row: nothing is sent for now." in shown(signed_in, recall)
    assert "recalls are paused." in signed_in.get("/").content.decode()


def test_the_page_tells_the_pace_and_the_time_left(
    signed_in: Client, make_recall: Callable[..., Recall], time_machine: Any
) -> None:
    recall = make_recall([FIRST + n for n in range(60)], "accepted", state="sending")
    now = timezone.now()
    the_batch(recall).attempts.update(started_at=now - timedelta(seconds=2), ended_at=now)
    time_machine.move_to(now, tick=False)
    page = shown(signed_in, recall)
    assert "0.5 requests a second, about 0:04 left" in page


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Results or errors of functions that run in threads at the same moment."""
    start = threading.Barrier(len(calls))
    results: list[object] = []

    def run(call: Callable[[], object]) -> None:
        start.wait()
        try:
            results.append(call())
        except services.NotPossible as refusal:
            results.append(refusal)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(5))
def test_two_people_sending_again_at_once_send_it_once(
    make_recall: Callable[..., Recall], moderator: Any, lead: Any, _round: int
) -> None:
    recall = make_recall([FIRST], "refused", state="finished")
    results = at_once(*(lambda who=who: decisions.retry_recall(recall, who) for who in (moderator, lead)))
    assert sorted(type(result).__name__ for result in results) == ["NotPossible", "int"]
    requests = AuditEntry.objects.filter(action="recall.requested", detail__again=True)
    assert requests.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(5))
def test_of_two_people_deciding_at_once_one_decides(undecided: Recall, moderator: Any, lead: Any, _round: int) -> None:
    results = at_once(
        lambda: decisions.settle_unknown(undecided, moderator, send_again=True, note="again"),
        lambda: decisions.settle_unknown(undecided, lead, send_again=False, note="leave it"),
    )
    assert sorted(type(result).__name__ for result in results) == ["NotPossible", "int"]
    assert AuditEntry.objects.filter(action="recall.settled").count() == 1


def test_history_that_cannot_be_read_is_said(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST], "unknown", state="finished")
    recall.batches.update(check_at=timezone.now() + timedelta(seconds=60), checks=2)
    page = shown(signed_in, recall)
    assert "history could not be read: it is tried again by itself." in page
    # Nobody has to wait for it.
    assert "Record the decision" in page
    recall.batches.update(check_at=None, checks=6)
    recall.items.update(verification="unknowable")
    page = shown(signed_in, recall)
    assert "1 cannot be verified" in page
    assert "could not be read in half an hour of trying" in page


def test_a_page_that_answers_a_post_leads_to_one_that_answers_get(
    client: Client, moderator: Any, make_recall: Callable[..., Recall]
) -> None:
    recall = make_recall([1_700_000_000_000], "unknown", state="finished")
    recall.batches.update(checks=1)
    client.force_login(moderator)
    answer = client.post(reverse("recall-settle", args=[recall.pk]), {"decision": "again", "note": ""})
    text = answer.content.decode()
    page = recall.get_absolute_url()
    assert answer.status_code == 200
    assert f'data-page="{page}"' in text
    assert f'href="/accounts/login/?next={quote(page, safe="")}"' in text
    # Nor does anything else of it lead to where it was posted, but the form.
    assert set(re.findall(rf'([-a-z]+)="[^"]*{page}settle/[^"]*"', text)) == {"action"}
