"""A recall's page: outcomes, evidence and actions."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from moderation.applications.models import Application
from moderation.audit.models import Action, AuditEntry
from moderation.outbox.models import Attempt
from recall.models import Evidence, Recall
from recall.views import recalls
from tests.markup import markup

from .reviewing import press

FIRST = 1_700_000_000_000


@pytest.fixture
def signed_in(client: Client, moderator: Any, application: Any) -> Client:
    client.force_login(moderator)
    return client


def shown(client: Client, recall: Recall, **query: Any) -> str:
    return " ".join(markup(client.get(recall.get_absolute_url(), query)).split())


def polled(client: Client, recall: Recall, **query: Any) -> Any:
    return client.get(recall.get_absolute_url(), query, headers={"HX-Request": "true"})


def test_a_waiting_recall_can_be_cancelled(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST], grace=60)
    page = shown(signed_in, recall)
    assert "Not sent yet." in page
    assert "Cancel recall" in page
    assert 'hx-trigger="every 1s"' in page
    answer = press(signed_in, recall.get_absolute_url(), reverse("recall-cancel", args=[recall.pk]))
    assert answer.redirect_chain == [(recall.get_absolute_url(), 303)]
    page = " ".join(markup(answer).split())
    assert "The recall of 1 message was cancelled." in page
    assert "Cancelled before anything was sent." in page
    assert "hx-trigger" not in page


def test_every_call_has_its_response_code_content_and_latency(
    signed_in: Client, make_recall: Callable[..., Recall]
) -> None:
    page = shown(signed_in, make_recall([FIRST], "accepted", state="finished"))
    for expected in (">200</td>", '<bdi translate="no">OK</bdi>', "83 ms"):
        assert expected in page


def test_every_attempt_of_a_call_is_shown(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST], "accepted", state="finished")
    attempt = Attempt.objects.get()
    Attempt.objects.filter(pk=attempt.pk).update(number=2)
    Attempt.objects.create(
        call=attempt.call, number=1, started_at=attempt.started_at, outcome="not_sent", problem="connection_refused"
    )
    page = shown(signed_in, recall)
    assert page.count('rowspan="2"') == 3
    assert "refused the connection" in page


def test_a_refused_key_says_where_to_put_it_right(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST + n for n in range(30)], "refused", state="stopped", stop_reason="key_refused")
    page = shown(signed_in, recall)
    assert "GoEasy refused the key" in page
    assert "GOEASY_APPKEY" in page
    assert ">401</td>" in page
    assert re.search(r"Retry\s+\d+\s+message", page)


def test_a_key_that_the_admin_keeps_is_put_right_there(
    client: Client, administrator: Any, make_recall: Callable[..., Recall], settings: Any
) -> None:
    client.force_login(administrator)
    recall = make_recall([FIRST], "refused", state="stopped", stop_reason="key_refused")
    settings.GOEASY_APPKEY = ""
    page = shown(client, recall)
    assert reverse("admin:applications_application_change", args=[Application.objects.get().pk]) in page


def test_an_unknown_outcome_says_what_is_known_and_what_is_not(
    signed_in: Client, make_recall: Callable[..., Recall]
) -> None:
    recall = make_recall([FIRST], "unknown", state="finished")
    page = shown(signed_in, recall)
    assert "Outcome unknown for 1 message." in page
    assert "no usable answer came" in page
    assert "GoEasy did not answer in time." in page
    assert "GoEasy’s history is being checked" in page
    assert "Send again" not in page
    assert "Record the decision" not in page


def test_evidence_is_shown_with_its_hash_and_missing_evidence_is_reported(
    signed_in: Client, private: Any, make_message: Callable[..., Any], make_recall: Callable[..., Recall]
) -> None:
    message = make_message(private, FIRST, payload={"text": "<script>alert(1)</script>"})
    page = shown(signed_in, make_recall([FIRST, FIRST + 1]))
    assert message.sha256 in page
    kept = Evidence.objects.get()
    assert kept.commitment in page
    assert kept.salt in page
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert page.count("no evidence") == 1


def test_reading_evidence_counts_as_opening_the_conversation(
    signed_in: Client, lead: Any, group: Any, make_recall: Callable[..., Recall]
) -> None:
    opened = AuditEntry.objects.filter(action=Action.CONVERSATION_OPENED).order_by("pk")
    recalls = [make_recall([FIRST], conversation=group), make_recall([FIRST])]
    for reader in (recalls[0].actor, lead):
        signed_in.force_login(reader)
        for recall in recalls:
            shown(signed_in, recall)
            polled(signed_in, recall)
    assert [(entry.actor, entry.kind, entry.detail["page"]) for entry in opened] == [
        (reader, kind, "recall") for reader in ("mo", "lea") for kind in ("group", "private")
    ]


def test_a_decision_that_cannot_be_read_shows_no_evidence_unrecorded(
    signed_in: Client, make_recall: Callable[..., Recall]
) -> None:
    recall = make_recall([FIRST])
    assert signed_in.post(reverse("recall-settle", args=[recall.pk]), {}).status_code == 200
    assert AuditEntry.objects.filter(action=Action.CONVERSATION_OPENED).count() == 1


def test_an_answer_in_html_is_shown_as_text(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST], "refused", state="finished")
    Attempt.objects.update(response_content="<img src=x onerror=alert(1)>" + "x" * 5_000)
    page = shown(signed_in, recall)
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_polling_answers_204_until_something_changes(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST + n for n in range(25)], "accepted", state="sending")
    first = polled(signed_in, recall)
    assert "<html" not in markup(first)
    assert polled(signed_in, recall, seen=first.context["seen"]).status_code == 204
    recall.batches.filter(index=1).update(state="accepted")
    Recall.objects.update(state="finished")
    last = markup(polled(signed_in, recall, seen=first.context["seen"]))
    assert "GoEasy answered with success for all 25 messages." in last
    assert 'id="item-' in last
    assert "hx-trigger" not in last


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_a_recall_that_ends_while_its_page_is_read_is_shown_as_it_ended(
    signed_in: Client, make_recall: Callable[..., Recall], monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    recall = make_recall([FIRST + n for n in range(25)], "accepted", state="sending")
    progress_of = recalls.progress_of

    def finish_after_reading(some: Sequence[Recall]) -> Any:
        progress = progress_of(some)
        recall.batches.update(state="accepted")
        Recall.objects.update(state="finished", finished_at=timezone.now())
        return progress

    monkeypatch.setattr(recalls, "progress_of", finish_after_reading)
    page = signed_in.get(recall.get_absolute_url(), headers=headers)
    assert (page.context["recall"].state, page.context["progress"].sizes) == ("finished", {"accepted": 25})
    assert ("<dt>Finished sending</dt>" in markup(page), page.context["live"]) == (True, False)


def test_a_recall_that_is_verified_while_its_page_is_read_is_shown_as_verified(
    signed_in: Client, make_recall: Callable[..., Recall], monkeypatch: pytest.MonkeyPatch
) -> None:
    recall = make_recall([FIRST], "unknown", state="finished")
    recall.batches.update(check_at=timezone.now())
    progress_of = recalls.progress_of

    def verify_after_reading(some: Sequence[Recall]) -> Any:
        progress = progress_of(some)
        recall.batches.update(check_at=None, checks=1, settlement="gone")
        recall.items.update(verification="gone")
        return progress

    monkeypatch.setattr(recalls, "progress_of", verify_after_reading)
    page = shown(signed_in, recall)
    assert "the outcome is unknown" not in page
    assert "hx-trigger" not in page


def test_a_poll_updates_when_the_recall_was_settled(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST], "accepted", state="sending")
    assert "<dt>Finished sending</dt>" not in markup(polled(signed_in, recall))
    Recall.objects.update(state="finished", finished_at=timezone.now())
    part = markup(polled(signed_in, recall))
    assert '<div id="recall-about" hx-swap-oob="innerHTML">' in part
    assert "<dt>Finished sending</dt>" in part
    assert 'id="recall-about"' in shown(signed_in, recall)


def test_a_stopped_recall_is_watched_while_a_call_is_still_out(
    signed_in: Client, make_recall: Callable[..., Recall]
) -> None:
    times = [FIRST + n for n in range(25)]
    recall = make_recall(times, "refused", "sending", state="stopped", stop_reason="key_refused")
    assert 'hx-trigger="every 1s"' in shown(signed_in, recall)


def test_a_refused_call_can_be_sent_again(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST], "refused", state="stopped", stop_reason="key_refused")
    answer = press(signed_in, recall.get_absolute_url(), reverse("recall-retry", args=[recall.pk]))
    assert "1 request is being sent again." in markup(answer)
    recall.refresh_from_db()
    assert recall.state == "sending"


@pytest.mark.parametrize(
    ("name", "said"), [("recall-cancel", "nothing is left to cancel"), ("recall-retry", "still visible")]
)
def test_an_impossible_action_shows_a_message(
    signed_in: Client, make_recall: Callable[..., Recall], name: str, said: str
) -> None:
    recall = make_recall([FIRST], "accepted", state="finished")
    signed_in.post(reverse(name, args=[recall.pk]))
    assert said in shown(signed_in, recall)
    recall.refresh_from_db()
    assert recall.state == "finished"


def test_a_large_recall_comes_in_pages_that_stay_small(
    signed_in: Client, make_recall: Callable[..., Recall], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    times = [FIRST + number for number in range(5_000)]
    recall = make_recall(times, *["accepted"] * 200, "refused", state="sending")
    with django_assert_max_num_queries(23):
        page = signed_in.get(recall.get_absolute_url()).content
    assert len(page) < 150_000
    context = signed_in.get(recall.get_absolute_url(), {"call": 50, "from": FIRST + 50}).context
    assert [call.index for call in context["calls"]] == list(range(50, 100))
    assert context["items"][0].timestamp == FIRST + 50
    context = signed_in.get(recall.get_absolute_url(), {"only": "refused"}).context
    assert [call.index for call in context["calls"]] == [200]
    assert len(context["items"]) == 20


@pytest.mark.parametrize(
    "query", [{"only": "lost"}, {"call": "x"}, {"from": "-1"}, {"call": "9" * 30}, {"seen": "\x00"}]
)
def test_a_malformed_query_string_is_ignored(
    signed_in: Client, make_recall: Callable[..., Recall], query: dict[str, str]
) -> None:
    assert str(FIRST) in shown(signed_in, make_recall([FIRST]), **query)


def test_an_auditor_reads_everything_and_is_offered_nothing_to_do(
    client: Client, auditor: Any, make_recall: Callable[..., Recall]
) -> None:
    recall = make_recall([FIRST], "refused", state="stopped", stop_reason="key_refused")
    client.force_login(auditor)
    page = shown(client, recall)
    assert ">401</td>" in page
    assert "Send again" not in page
    assert reverse("admin:audit_auditentry_changelist") in page
    for name in ("recall-cancel", "recall-retry", "recall-settle"):
        assert client.post(reverse(name, args=[recall.pk])).status_code == 403


def test_a_recall_that_does_not_exist_is_404(signed_in: Client) -> None:
    assert signed_in.get(reverse("recall", args=[uuid.uuid4()])).status_code == 404


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            (401, 401, "Unauthorized"),
            ("Code 401", "Unauthorized", "does not accept the application&#x27;s key", "admin"),
        ),
        ((200, 4711, "no such group"), ("Code 4711", "no such group", "does not document this code", "may be refused")),
        (
            (429, None, ""),
            ("HTTP status 429, no code", "Too many requests", "Wait a minute", "refused without an explanation"),
        ),
        ((503, None, "busy"), ("HTTP status 503, no code", "busy", "cannot serve requests", "Wait a few minutes")),
    ],
)
def test_a_refusal_is_shown_with_its_code_content_meaning_and_advice(
    signed_in: Client, make_recall: Callable[..., Recall], answer: tuple[int, int | None, str], said: tuple[str, ...]
) -> None:
    recall = make_recall([FIRST], "refused", state="finished")
    status, code, content = answer
    Attempt.objects.update(http_status=status, response_code=code, response_content=content, problem="refused")
    page = shown(signed_in, recall)
    for words in said:
        assert words in page
    # The message for history that cannot be read.
    assert "refused to answer" not in page


def test_equal_refusals_are_grouped_by_their_latest_answer(
    signed_in: Client, make_recall: Callable[..., Recall]
) -> None:
    recall = make_recall([FIRST + n for n in range(45)], "refused", "refused", "refused", state="finished")
    first = Attempt.objects.get(call__position=0)
    Attempt.objects.create(call=first.call, number=2, started_at=first.started_at, outcome="refused", response_code=429)
    page = shown(signed_in, recall)
    assert page.count("does not accept the application&#x27;s key") == 1
    assert page.index("Code 401") < page.index("2 requests") < page.index("Code 429") < page.index("Too many requests")


def test_a_large_recall_is_shown_whole_on_one_page_to_be_printed(
    signed_in: Client, make_recall: Callable[..., Recall]
) -> None:
    recall = make_recall([FIRST + n for n in range(1_100)], grace=60)
    part = shown(signed_in, recall)
    assert part.count('class="states"') == 50
    assert "This is a part of the record" in part
    assert f'href="{recall.get_absolute_url()}?whole=1"' in part
    whole = shown(signed_in, recall, whole=1)
    assert whole.count('class="states"') == 1_100
    assert whole.count('<th scope="row"') == 55
    assert "This is a part of the record" not in whole
    # The page is not polled: it may have thousands of rows.
    assert "hx-trigger" not in whole


def test_a_small_recall_needs_no_other_page_to_be_printed(
    signed_in: Client, make_recall: Callable[..., Recall]
) -> None:
    page = shown(signed_in, make_recall([FIRST], "accepted", state="finished"))
    assert "whole=1" not in page
    assert "This is a part of the record" not in page
