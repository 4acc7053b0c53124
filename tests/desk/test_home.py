"""The home page: what needs attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from moderation.operations.models import Heartbeat
from recall.models import Recall, Sweep

FIRST = 1_700_000_000_000


@pytest.fixture
def signed_in(client: Client, moderator: Any) -> Client:
    client.force_login(moderator)
    return client


def home(client: Client) -> str:
    return client.get("/").content.decode()


def test_an_empty_home_page_says_what_to_do(signed_in: Client, application: Any) -> None:
    page = home(signed_in)
    assert "Nothing needs action." in page
    assert "No conversation has been opened yet." in page


def test_a_stopped_recall_is_shown_with_what_to_do(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST], "refused", state="stopped", stop_reason="key_refused")
    page = home(signed_in)
    assert recall.get_absolute_url() in page
    assert "GoEasy refused the key. Put it right, then send the rest again." in page


def test_an_unknown_outcome_needs_a_person_and_an_accepted_one_does_not(
    signed_in: Client, make_recall: Callable[..., Recall]
) -> None:
    unknown = make_recall([FIRST], "unknown", state="finished")
    make_recall([FIRST + 1], "accepted", state="finished")
    assert [recall.pk for recall in signed_in.get("/").context["needs"]] == [unknown.pk]


@pytest.mark.parametrize("outcome", ["unknown", "refused"])
def test_an_outcome_that_history_is_about_to_tell_is_shown_as_being_checked(
    signed_in: Client, make_recall: Callable[..., Recall], outcome: str
) -> None:
    recall = make_recall([FIRST], outcome, state="finished")
    recall.batches.update(check_at=timezone.now())
    answer = signed_in.get("/")
    assert [each.pk for each in answer.context["under_way"]] == [recall.pk]
    assert not answer.context["needs"]
    page = answer.content.decode()
    assert "Checking GoEasy’s history…" in page
    assert "Every recall was answered" not in page


def test_a_sweep_that_history_is_about_to_settle_is_shown_as_being_checked(
    signed_in: Client, make_recall: Callable[..., Recall], moderator: Any, application: Any
) -> None:
    sweep = Sweep.objects.create(application=application, sender_id="user-a", since=0, until=1, actor=moderator)
    recall = make_recall([FIRST], "unknown", state="finished")
    Recall.objects.filter(pk=recall.pk).update(sweep=sweep)
    recall.batches.update(check_at=timezone.now())
    assert [each.pk for each in signed_in.get("/").context["sweeps_under_way"]] == [sweep.pk]
    assert "Checking GoEasy’s history…" in home(signed_in)


def test_recalls_under_way_are_shown_with_how_far_they_are(
    signed_in: Client, make_recall: Callable[..., Recall]
) -> None:
    make_recall([FIRST + number for number in range(45)], "accepted", state="sending")
    assert "1 of 3 requests are done." in home(signed_in)


def test_an_application_without_a_key_says_how_to_set_it(signed_in: Client, application: Any, settings: Any) -> None:
    settings.GOEASY_APPKEY = ""
    page = home(signed_in)
    assert "cannot call GoEasy: it has no key." in page
    assert "GOEASY_APPKEY" in page


def test_a_goeasy_problem_is_shown_until_history_is_read_again(signed_in: Client, private: Any) -> None:
    private.history_problem, private.history_read_at = "read_timeout", timezone.now()
    private.save()
    assert "GoEasy does not answer" in home(signed_in)
    private.history_problem = ""
    private.save()
    assert "GoEasy does not answer" not in home(signed_in)


def test_a_missing_worker_is_reported(signed_in: Client, application: Any) -> None:
    assert "No worker is running" in home(signed_in)
    Heartbeat.objects.create(worker="w", at=timezone.now())
    assert "No worker is running" not in home(signed_in)


def test_the_number_of_queries_does_not_grow(
    signed_in: Client, make_recall: Callable[..., Recall], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(8):
        make_recall([FIRST + number], "unknown", state="finished")
        make_recall([FIRST + 100 + number], state="sending")
    with django_assert_max_num_queries(29):
        home(signed_in)
