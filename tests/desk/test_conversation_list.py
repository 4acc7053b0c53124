"""The list of conversations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from moderation.archive.models import Conversation
from moderation.desk.views.lists import PAGE_SIZE
from moderation.goeasy.client import Group, Private


@pytest.fixture
def signed_in(client: Client, moderator: Any) -> Client:
    client.force_login(moderator)
    return client


def titles(client: Client, **query: Any) -> list[str]:
    return [each.title for each in client.get(reverse("conversations"), query).context["page"]]


def test_an_empty_archive_says_what_to_do(signed_in: Client) -> None:
    page = signed_in.get(reverse("conversations")).content.decode()
    assert "The archive is empty" in page
    assert reverse("open-conversation") in page


def test_people_are_shown_by_name_with_their_ids(
    signed_in: Client, private: Conversation, make_message: Callable[..., Any]
) -> None:
    make_message(private, 1_700_000_000_000, senderData={"name": "王小明"})
    page = signed_in.get(reverse("conversations")).content.decode()
    assert "王小明 ↔ user-b" in page
    assert "user-a ↔ user-b" in page


@pytest.mark.parametrize("text", ["user-a", "USER-B", "er-a"])
def test_either_users_id_finds_a_private_conversation(
    signed_in: Client, private: Conversation, group: Conversation, text: str
) -> None:
    assert titles(signed_in, q=text) == ["user-a ↔ user-b"]


def test_the_search_text_is_taken_literally(signed_in: Client, application: Any) -> None:
    Conversation.objects.open(application, Group("100%"))
    Conversation.objects.open(application, Group("1000"))
    assert titles(signed_in, q="100%") == ["100%"]


def test_a_filter_takes_several_values(signed_in: Client, private: Conversation, group: Conversation) -> None:
    assert titles(signed_in, kind="group") == ["group-1"]
    assert len(titles(signed_in, kind=["group", "private"])) == 2


def test_an_unknown_filter_value_is_ignored(signed_in: Client, private: Conversation) -> None:
    assert titles(signed_in, kind="choir", app="nobody", after="x-y") == ["user-a ↔ user-b"]


def test_pages_follow_each_other_without_gap_or_repetition(signed_in: Client, application: Any) -> None:
    count = 2 * PAGE_SIZE + 3
    # Three of each time: the key has to tell them apart.
    Conversation.objects.bulk_create(
        Conversation(application=application, kind="group", group_id=f"g{number}", last_timestamp=number // 3)
        for number in range(count)
    )
    seen: list[str] = []
    query = ""
    while True:
        context = signed_in.get(f"{reverse('conversations')}?{query}").context
        seen += [each.group_id for each in context["page"]]
        if not (query := context["older"]):
            break
    assert seen == [f"g{number}" for number in reversed(range(count))]


def test_the_way_back_to_the_newest_keeps_the_filters(signed_in: Client) -> None:
    address = reverse("conversations")
    page = signed_in.get(address, {"q": 'a&b"', "kind": ["group", "private"], "after": "1-1"}).content.decode()
    assert f'href="{address}?q=a%26b%22&amp;kind=group&amp;kind=private"' in page


def test_the_number_of_queries_does_not_grow_with_the_list(
    signed_in: Client, application: Any, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        Conversation.objects.open(application, Private(f"a{number}", f"b{number}"))
    with django_assert_max_num_queries(16):
        signed_in.get(reverse("conversations"))


def test_an_auditor_reads_the_list_and_opens_nothing(client: Client, auditor: Any, private: Conversation) -> None:
    client.force_login(auditor)
    page = client.get(reverse("conversations")).content.decode()
    assert "user-a ↔ user-b" in page
    assert reverse("open-conversation") not in page


def test_a_name_learned_from_messages_finds_the_persons_conversations(
    client: Client, moderator: Any, private: Any, group: Any, make_message: Any
) -> None:
    make_message(group, 1_700_000_000_000, senderId="user-b", senderData={"name": "王小明"})
    client.force_login(moderator)
    assert list(client.get("/conversations/", {"q": "小明"}).context["page"]) == [private]
    assert list(client.get("/conversations/", {"q": "小红"}).context["page"]) == []


def test_a_group_is_shown_by_the_name_learned_from_messages(
    client: Client, moderator: Any, group: Conversation
) -> None:
    client.force_login(moderator)
    Conversation.objects.update(name="读书会 <b>")
    page = client.get("/conversations/").content.decode()
    assert "读书会 &lt;b&gt;" in page
    assert "group-1" in page
