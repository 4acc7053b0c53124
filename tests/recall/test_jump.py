"""Opening anything by its id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from moderation.archive.models import Conversation
from moderation.goeasy.client import Private
from recall.models import Recall

FIRST = 1_700_000_000_000


@pytest.fixture
def signed_in(client: Client, moderator: Any, application: Any) -> Client:
    client.force_login(moderator)
    return client


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


def test_what_names_several_things_is_a_list_to_choose_from(
    signed_in: Client, private: Conversation, application: Any
) -> None:
    other = Conversation.objects.open(application, Private("user-a", "user-c"))
    answer = signed_in.get(reverse("jump"), {"q": "user-a"})
    assert {address for address, _thing in answer.context["found"]} == {
        private.get_absolute_url(),
        other.get_absolute_url(),
    }


def test_what_is_unknown_may_be_looked_for_at_goeasy(signed_in: Client) -> None:
    page = signed_in.get(reverse("jump"), {"q": "x&y/z"}).content.decode()
    assert "?kind=private&amp;user_a=x%26y&amp;user_b=z" in page
    assert "?kind=group&amp;group_id=x%26y%2Fz" in page


@pytest.mark.parametrize("text", ["", "/" * 600, "9" * 600, "\x00", "<script>", "’; --"])
def test_nothing_that_is_typed_breaks_it(signed_in: Client, text: str) -> None:
    assert signed_in.get(reverse("jump"), {"q": text}).status_code == 200


def test_it_requires_signing_in(client: Client, db: None) -> None:
    assert client.get(reverse("jump")).status_code == 302


def test_a_message_without_a_plausible_time_is_opened_where_it_stands(
    client: Client, moderator: Any, private: Conversation, make_message: Callable[..., Any]
) -> None:
    client.force_login(moderator)
    message = make_message(private, 1795718732695123456, messageId="m-nano")
    answer = client.get("/open/", {"q": "m-nano"})
    assert answer["Location"] == f"{private.get_absolute_url()}?at={message.placed_at}"
