"""A sender's panel beside a conversation, and the page that it comes from."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from moderation.archive.models import Conversation, Message
from moderation.audit.models import AuditEntry
from recall.services import request_recall

from .conversations import HTMX, START

pytestmark = pytest.mark.django_db


@pytest.fixture
def mo(client: Client, moderator: Any) -> Client:
    client.force_login(moderator)
    return client


def panel(client: Client, user_id: str = "user-a") -> str:
    response = client.get("/senders/default/", {"id": user_id}, headers=HTMX)
    assert response.status_code == 200
    return response.content.decode()


def test_the_panel_has_names_times_conversations_and_the_latest_messages(
    mo: Client, private: Conversation, group: Conversation, make_message: Callable[..., Message]
) -> None:
    make_message(private, START, senderData={"name": "Old name"})
    make_message(group, START + 1000, senderData={"name": "New name"}, payload={"text": "hello there"})
    html = panel(mo)
    assert "<html" not in html
    for text in ("Old name", "New name", "hello there", "group-1", "Recall everywhere…", f"?at={START + 1000}"):
        assert text in html
    assert f"since={START}&amp;until={START + 1000}" in html


def test_the_panel_shows_twenty_messages_and_five_conversations_at_most(
    mo: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    for number in range(25):
        make_message(private, START + number)
    assert panel(mo).count("?at=") == 20


def test_earlier_recalls_of_the_sender_are_named_with_reason_and_person(
    mo: Client, moderator: Any, reason: Any, private: Conversation, make_message: Callable[..., Message]
) -> None:
    for number in range(3):
        make_message(private, START + number)
    make_message(private, START + 9, senderId="user-b")
    recall = request_recall(
        conversation=private,
        actor=moderator,
        reason=reason,
        note="",
        recaller=None,
        timestamps=[START, START + 1, START + 9],
        submission=uuid.uuid4(),
        grace_seconds=0,
    )
    for html in (panel(mo), mo.get("/senders/default/", {"id": "user-a"}).content.decode()):
        assert f'<a href="{recall.get_absolute_url()}">{reason}</a>' in html
        assert "2 messages" in html
    assert recall.get_absolute_url() not in panel(mo, "user-c")


def test_a_person_who_wrote_nothing_has_a_panel_that_says_so(mo: Client, private: Conversation) -> None:
    html = panel(mo, "nobody\u202e")
    assert "Nothing by this sender is in the archive." in html
    assert "Recall everywhere" not in html
    assert "\u202e" not in html


def test_an_auditor_sees_the_panel_without_a_way_to_recall(
    client: Client, auditor: Any, private: Conversation, make_message: Callable[..., Message]
) -> None:
    make_message(private, START)
    client.force_login(auditor)
    assert "Recall everywhere" not in panel(client)


def test_looking_at_the_panel_is_recorded(mo: Client, private: Conversation) -> None:
    before = AuditEntry.objects.count()
    panel(mo)
    assert AuditEntry.objects.count() == before + 1


def test_the_panel_takes_as_many_queries_for_many_messages(
    mo: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    make_message(private, START)
    with CaptureQueriesContext(connection) as few:
        panel(mo)
    for number in range(1, 40):
        make_message(private, START + number)
    with CaptureQueriesContext(connection) as many:
        panel(mo)
    assert len(many) <= len(few) <= 20
