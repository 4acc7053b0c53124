"""Opening anything by its id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from moderation.archive import rows
from moderation.archive.models import Conversation, Sender
from moderation.goeasy.client import Group, Private
from moderation.search import people
from recall.models import Recall, Sweep

FIRST = 1_700_000_000_000


@pytest.fixture
def signed_in(client: Client, moderator: Any, application: Any) -> Client:
    client.force_login(moderator)
    return client


def lines(response: Any) -> list[Any]:
    """The results on a page, without actions."""
    groups = response.context["results"].groups
    return [line for group in groups for line in group.lines if group.name not in {"actions", "opening"}]


def opened(client: Client, text: str) -> str:
    return client.get(reverse("jump"), {"q": text}).headers.get("Location", "")


@pytest.mark.parametrize("text", ["user-a/user-b", "user-b/user-a", " user-b / user-a ", "user-a", "user-b"])
def test_users_open_their_conversation(signed_in: Client, private: Conversation, text: str) -> None:
    assert opened(signed_in, text) == private.get_absolute_url()


def test_a_groups_id_opens_it(signed_in: Client, group: Conversation) -> None:
    assert opened(signed_in, "group-1") == group.get_absolute_url()


def test_ids_may_hold_slashes_themselves(signed_in: Client, application: Any) -> None:
    conversation = Conversation.objects.open(application, Private("a/b", "c/d"))
    assert opened(signed_in, "c/d/a/b") == conversation.get_absolute_url()


def test_a_message_opens_where_it_stands(
    signed_in: Client, private: Conversation, make_message: Callable[..., Any]
) -> None:
    make_message(private, FIRST, messageId="m-1")
    place = f"{private.get_absolute_url()}?at={FIRST}"
    assert opened(signed_in, "m-1") == place
    assert opened(signed_in, str(FIRST)) == place


def test_a_recalls_id_opens_it_and_so_does_a_timestamp_that_only_it_knows(
    signed_in: Client, make_recall: Callable[..., Recall]
) -> None:
    recall = make_recall([FIRST])
    assert opened(signed_in, str(recall.pk)) == recall.get_absolute_url()
    assert opened(signed_in, str(FIRST)) == recall.get_absolute_url()


def test_an_ambiguous_text_leads_to_a_list_of_matches(
    signed_in: Client, private: Conversation, application: Any
) -> None:
    other = Conversation.objects.open(application, Private("user-a", "user-c"))
    answer = signed_in.get(reverse("jump"), {"q": "user-a"})
    assert {line.address for line in lines(answer)} == {
        private.get_absolute_url(),
        other.get_absolute_url(),
    }


def test_an_unknown_text_offers_to_open_a_conversation_by_its_ids(signed_in: Client) -> None:
    page = signed_in.get(reverse("jump"), {"q": "x&y/z"}).content.decode()
    assert "?kind=private&amp;user_a=x%26y&amp;user_b=z" in page
    assert "?kind=group&amp;group_id=x%26y%2Fz" in page


@pytest.mark.parametrize("text", ["", "/" * 600, "9" * 600, "\x00", "<script>", "’; --"])
def test_any_text_is_accepted(signed_in: Client, text: str) -> None:
    assert signed_in.get(reverse("jump"), {"q": text}).status_code == 200


def test_the_page_requires_signing_in(client: Client, db: None) -> None:
    assert client.get(reverse("jump")).status_code == 302


def test_a_message_without_a_plausible_time_is_opened_where_it_stands(
    client: Client, moderator: Any, private: Conversation, make_message: Callable[..., Any]
) -> None:
    client.force_login(moderator)
    message = make_message(private, 1795718732695123456, messageId="m-nano")
    answer = client.get("/open/", {"q": "m-nano"})
    assert answer["Location"] == f"{private.get_absolute_url()}?at={message.placed_at}"


def test_a_persons_id_opens_the_person_not_the_one_private_conversation(
    signed_in: Client, private: Conversation, group: Conversation, make_message: Callable[..., Any]
) -> None:
    # No message has a name, so only the messages have the id.
    for number in range(5):
        make_message(group, FIRST + number, senderId="user-a", senderData=None)
    make_message(private, FIRST + 9, senderId="user-a", senderData=None)
    address = f"{reverse('sender', args=['default'])}?id=user-a"
    assert opened(signed_in, "user-a") == address
    conversations = dict(signed_in.get(address).context["conversations"])
    assert conversations == {group: 5, private: 1}
    # Ids are exact.
    assert opened(signed_in, "USER-A") == ""


@pytest.mark.parametrize("text", ["王小明", "小明", "王\u200b小明", "ＷＡＮＧ", "wang xiao"])
@pytest.mark.parametrize("is_indexed", [True, False])
def test_a_persons_name_opens_the_person(
    signed_in: Client, group: Conversation, make_message: Callable[..., Any], text: str, is_indexed: bool
) -> None:
    make_message(group, FIRST, senderId="u-1011", senderData={"name": "王小明 Wang Xiaoming"})
    if is_indexed:
        assert people.index_names() == 1
        assert people.index_names() == 0
    assert opened(signed_in, text) == f"{reverse('sender', args=['default'])}?id=u-1011"


def test_a_changed_name_is_indexed_anew(
    signed_in: Client, group: Conversation, make_message: Callable[..., Any]
) -> None:
    make_message(group, FIRST, senderId="u-1", senderData={"name": "Before"})
    people.index_names()
    rows.clear_caches()
    make_message(group, FIRST + 1, senderId="u-1", senderData={"name": "After"})
    for _time in range(2):
        assert [sender.user_id for sender in people.named("after")] == ["u-1"]
        assert people.named("before") == []
        people.index_names()


def test_several_people_of_a_name_and_a_conversation_are_a_list(
    signed_in: Client, application: Any, group: Conversation, make_message: Callable[..., Any]
) -> None:
    make_message(group, FIRST, senderId="u-1", senderData={"name": "group-1 fan"})
    make_message(group, FIRST + 1, senderId="u-2", senderData={"name": "Group-1"})
    page = signed_in.get(reverse("jump"), {"q": "group-1"})
    assert [str(line.thing) for line in lines(page)] == ["group-1", "Group-1", "group-1 fan"]
    assert "u-1" in page.content.decode()


def test_more_than_can_be_shown_is_said(
    signed_in: Client, group: Conversation, make_message: Callable[..., Any]
) -> None:
    for number in range(15):
        make_message(group, FIRST + number, senderId=f"u-{number}", senderData={"name": "老王"})
    page = signed_in.get(reverse("jump"), {"q": "老王"})
    assert len(lines(page)) == 12
    assert "All results" in page.content.decode()


def test_someone_who_only_was_written_to_has_the_conversation(
    signed_in: Client, private: Conversation, make_message: Callable[..., Any]
) -> None:
    make_message(private, FIRST, senderId="user-a", receiverId="user-b", receiverData={"name": "Bo"})
    page = signed_in.get(reverse("sender", args=["default"]), {"id": "user-b"})
    assert page.context["conversations"] == [(private, 0)]
    assert opened(signed_in, "user-b") == f"{reverse('sender', args=['default'])}?id=user-b"


def test_the_conversation_search_lists_people_of_groups(
    signed_in: Client, group: Conversation, make_message: Callable[..., Any]
) -> None:
    make_message(group, FIRST, senderId="u-1011", senderData={"name": "王小明"})
    make_message(group, FIRST + 1, senderId="u-77", senderData=None)
    for text, user_id in (("小明", "u-1011"), ("1011", "u-1011"), ("u-77", "u-77")):
        page = signed_in.get(reverse("conversations"), {"q": text})
        assert [sender.user_id for sender in page.context["people"]] == [user_id]
        assert f"{reverse('sender', args=['default'])}?id={user_id}" in page.content.decode()


def test_a_search_for_a_name_uses_the_index(application: Any) -> None:
    Sender.objects.bulk_create(
        Sender(application=application, user_id=f"u-{number}", name=f"Name {number}") for number in range(600)
    )
    assert people.index_names(1) == 500
    assert people.index_names() == 100
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE archive_sender")
    with CaptureQueriesContext(connection) as queries:
        (sender,) = people.named("name 599")
    assert (sender.user_id, len(queries)) == ("u-599", 3)
    plan = Sender.objects.filter(Q(rules=None) | Q(rules__lt=5) | Q(rules__gt=5)).explain()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
            plan = Sender.objects.filter(Q(rules=None) | Q(rules__lt=5) | Q(rules__gt=5)).explain()
    assert "sender_by_rules" in plan


def test_a_slash_alone_names_no_group(signed_in: Client, application: Any) -> None:
    conversation = Conversation.objects.open(application, Group("g-1"))
    page = signed_in.get(reverse("jump"), {"q": "/"})
    assert page.status_code == 200
    assert conversation.get_absolute_url() not in page.content.decode()


def test_the_id_of_a_sweep_opens_it(signed_in: Client, application: Any, moderator: Any) -> None:
    sweep = Sweep.objects.create(application=application, sender_id="u-1", since=1, until=2, actor=moderator)
    assert opened(signed_in, str(sweep.pk)) == sweep.get_absolute_url()
