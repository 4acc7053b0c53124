"""The list of recalls."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from recall.models import Recall
from recall.views.recalls import LIST_SIZE
from tests.markup import markup

FIRST = 1_700_000_000_000


@pytest.fixture
def signed_in(client: Client, moderator: Any, application: Any) -> Client:
    client.force_login(moderator)
    return client


def listed(client: Client, **query: Any) -> list[Any]:
    return [recall.pk for recall in client.get(reverse("recalls"), query).context["page"]]


def test_an_empty_list_says_what_to_do(signed_in: Client) -> None:
    assert "Nothing has been recalled yet." in markup(signed_in.get(reverse("recalls")))


def test_state_outcome_person_reason_and_size_are_shown(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    make_recall([FIRST + number for number in range(25)], "accepted", "unknown", state="finished", note="third time")
    page = " ".join(markup(signed_in.get(reverse("recalls"))).split())
    assert '<span class="pill unknown">unknown</span>' in page
    assert "third time" in page
    assert ">25</td>" in page
    assert "1 / 2</span>" in page


def test_filters_take_several_values(signed_in: Client, make_recall: Callable[..., Recall], lead: Any) -> None:
    stopped = make_recall([FIRST], "refused", state="stopped", stop_reason="key_refused")
    waiting = make_recall([FIRST + 1])
    finished = make_recall([FIRST + 2], "unknown", state="finished", actor=lead)
    assert listed(signed_in, state="stopped") == [stopped.pk]
    assert set(listed(signed_in, state=["stopped", "waiting"])) == {stopped.pk, waiting.pk}
    assert set(listed(signed_in, outcome=["unknown", "refused"])) == {stopped.pk, finished.pk}
    assert listed(signed_in, actor="lea") == [finished.pk]
    assert listed(signed_in, actor="lea", state="waiting") == []


def test_an_unknown_filter_value_is_ignored(signed_in: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([FIRST])
    outside = [f"{time}_{recall.pk}" for time in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")]
    for after in ("x_y", "2026-01-01_", f"2026-01-01T00:00:00_{recall.pk}", "\x00", *outside):
        assert listed(signed_in, state="lost", actor="nobody", after=after) == [recall.pk]


def test_pages_follow_each_other_without_gap_or_repetition(
    signed_in: Client, private: Any, moderator: Any, reason: Any
) -> None:
    now = timezone.now()
    # Three of each time: the key has to tell them apart.
    Recall.objects.bulk_create(
        Recall(
            application=private.application,
            conversation=private,
            actor=moderator,
            reason=reason,
            submission=uuid.uuid4(),
            created_at=now - timedelta(seconds=number // 3),
        )
        for number in range(2 * LIST_SIZE + 3)
    )
    seen: list[Any] = []
    query = ""
    while True:
        context = signed_in.get(f"{reverse('recalls')}?{query}").context
        seen += [recall.pk for recall in context["page"]]
        if not (query := context["older"]):
            break
    assert len(seen) == len(set(seen)) == 2 * LIST_SIZE + 3


def test_the_way_back_to_the_newest_keeps_the_filters(signed_in: Client) -> None:
    address = reverse("recalls")
    page = markup(signed_in.get(f"{address}?state=waiting&state=stopped&actor=mo&after=x"))
    assert f'href="{address}?state=waiting&amp;state=stopped&amp;actor=mo"' in page
    assert f'<a class="button" href="{address}?">' in markup(signed_in.get(f"{address}?after=x"))


def test_the_number_of_queries_does_not_grow_with_the_list(
    signed_in: Client, make_recall: Callable[..., Recall], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        make_recall([FIRST + number], "accepted", state="finished")
    with django_assert_max_num_queries(9):
        signed_in.get(reverse("recalls"))


def test_an_auditor_reads_it_and_is_offered_nothing_to_do(
    client: Client, auditor: Any, make_recall: Callable[..., Recall]
) -> None:
    make_recall([FIRST])
    client.force_login(auditor)
    page = markup(client.get(reverse("recalls")))
    assert reverse("recall-new") not in page


def test_one_conversations_recalls_can_be_listed(
    signed_in: Client, make_recall: Callable[..., Recall], group: Any
) -> None:
    of_the_pair, _of_the_group = make_recall([FIRST]), make_recall([FIRST + 1], conversation=group)
    assert listed(signed_in, conversation=of_the_pair.conversation_id) == [of_the_pair.pk]
    assert len(listed(signed_in, conversation="none")) == 2
