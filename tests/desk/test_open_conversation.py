"""Opening a conversation by its ids."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from moderation.archive.models import Conversation

PRIVATE = {"app": "default", "kind": "private", "user_a": "user-b", "user_b": "user-a", "group_id": ""}


@pytest.fixture
def signed_in(client: Client, moderator: Any, application: Any) -> Client:
    client.force_login(moderator)
    return client


def test_the_form_leads_to_the_conversation(signed_in: Client) -> None:
    answer = signed_in.post(reverse("open-conversation"), PRIVATE)
    assert answer.status_code == 302
    assert answer["Location"] == Conversation.objects.get().get_absolute_url()


def test_the_two_users_in_either_order_are_one_conversation(signed_in: Client, private: Conversation) -> None:
    turned = {**PRIVATE, "user_a": "user-a", "user_b": "user-b"}
    for form in (PRIVATE, turned):
        assert signed_in.post(reverse("open-conversation"), form)["Location"] == private.get_absolute_url()
    assert Conversation.objects.count() == 1


@pytest.mark.parametrize("group_id", ["a:b/c", "读书会 🦊", "x" * 255])
def test_ids_are_taken_as_they_are(signed_in: Client, group_id: str) -> None:
    form = {"app": "default", "kind": "group", "group_id": group_id}
    signed_in.post(reverse("open-conversation"), form)
    assert Conversation.objects.get().group_id == group_id


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"user_b": ""}, "A private conversation needs both user ids."),
        ({"group_id": "g"}, "not both"),
        ({"kind": "group", "user_a": "", "user_b": ""}, "A group needs its id."),
        ({"user_a": "x" * 256}, "at most 255"),
        ({"app": "nobody"}, "Select a valid choice"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_stored(signed_in: Client, change: dict[str, str], said: str) -> None:
    answer = signed_in.post(reverse("open-conversation"), {**PRIVATE, **change})
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not Conversation.objects.exists()


def test_the_address_may_fill_the_form(signed_in: Client) -> None:
    page = signed_in.get(reverse("open-conversation"), {"kind": "group", "group_id": "a&b"}).content.decode()
    assert 'value="a&amp;b"' in page
    assert not Conversation.objects.exists()


def test_an_auditor_cannot_open_a_conversation(client: Client, auditor: Any) -> None:
    client.force_login(auditor)
    assert client.get(reverse("open-conversation")).status_code == 403
    assert client.post(reverse("open-conversation"), PRIVATE).status_code == 403
