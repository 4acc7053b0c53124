"""Retention of messages, holds that suspend it, and how the conversation's page shows both."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from moderation.applications.models import Application
from moderation.archive import retention
from moderation.archive.models import Conversation, Message
from moderation.audit.models import AuditEntry
from moderation.ingestion.models import UnreadableMessage
from recall import services
from recall.models import Evidence
from tests.recall.reviewing import press

DAY = 24 * 3600 * 1000


def ago(days: float) -> int:
    return time.time_ns() // 1_000_000 - round(days * DAY)


@pytest.fixture
def old_and_new(application: Any, private: Conversation, make_message: Callable[..., Message]) -> Conversation:
    """A conversation with messages of 40, 20 and 1 days ago; the application keeps 30 days and GoEasy 10."""
    Application.objects.filter(pk=application.pk).update(keep_days=30, history_days=10)
    for days in (40, 20, 1):
        make_message(private, ago(days))
    return private


def kept(conversation: Conversation) -> int:
    return Message.objects.filter(conversation=conversation).count()


def test_messages_beyond_the_retention_period_are_deleted(old_and_new: Conversation) -> None:
    assert retention.prune() == 0
    assert kept(old_and_new) == 2


def test_unreadable_messages_are_deleted_by_when_they_were_first_seen(old_and_new: Conversation) -> None:
    for number, days in enumerate((40, 20)):
        kept_raw = UnreadableMessage.objects.create(conversation=old_and_new, raw="{}", sha256=str(number), length=2)
        seen_at = timezone.now() - timedelta(days=days)
        UnreadableMessage.objects.filter(pk=kept_raw.pk).update(seen_at=seen_at)
    retention.prune()
    assert list(UnreadableMessage.objects.values_list("sha256", flat=True)) == ["1"]


def test_without_a_limit_nothing_is_deleted(old_and_new: Conversation) -> None:
    Application.objects.update(keep_days=None)
    retention.prune()
    assert kept(old_and_new) == 3


def test_each_application_has_its_own_limit(old_and_new: Conversation, make_message: Callable[..., Message]) -> None:
    from moderation.goeasy.client import Group

    other = Application.objects.create(slug="second", name="Second", keep_days=10)
    group = Conversation.objects.open(other, Group("g"))
    for days in (20, 1):
        make_message(group, ago(days))
    retention.prune()
    assert (kept(old_and_new), kept(group)) == (2, 1)


def test_a_conversation_on_hold_loses_nothing_until_the_hold_ends(old_and_new: Conversation, lead: Any) -> None:
    retention.hold(old_and_new, "lea", "court order 7")
    retention.prune()
    assert kept(old_and_new) == 3
    assert retention.delete_older(old_and_new.pk, ago(0)) == 0
    retention.release(old_and_new, "lea", "case closed")
    retention.prune()
    assert kept(old_and_new) == 2
    entries = AuditEntry.objects.filter(action__startswith="conversation.").order_by("pk")
    assert [(entry.action, entry.actor, json.loads(entry.private.content)["note"]) for entry in entries] == [
        ("conversation.held", "lea", "court order 7"),
        ("conversation.released", "lea", "case closed"),
    ]
    assert {(entry.kind, entry.user_a, entry.user_b) for entry in entries} == {("private", "user-a", "user-b")}


def test_the_evidence_of_a_recall_stays(
    old_and_new: Conversation, moderator: Any, reason: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "look_up", lambda *args, **kwargs: None)
    oldest = Message.objects.order_by("timestamp")[0]
    services.request_recall(
        conversation=old_and_new,
        actor=moderator,
        reason=reason,
        note="",
        timestamps=[oldest.timestamp],
        recaller=None,
        submission=uuid.uuid4(),
        grace_seconds=60,
    )
    retention.prune()
    assert not Message.objects.filter(pk=oldest.pk).exists()
    assert Evidence.objects.get().raw == oldest.raw


def test_it_goes_on_where_it_stopped_in_small_steps(
    application: Any, make_message: Callable[..., Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    from moderation.goeasy.client import Group

    Application.objects.update(keep_days=30)
    monkeypatch.setattr(retention, "CONVERSATIONS_A_STEP", 2)
    monkeypatch.setattr(retention, "MESSAGES_AT_ONCE", 2)
    for number in range(5):
        conversation = Conversation.objects.open(application, Group(f"g-{number}"))
        for n in range(3):
            make_message(conversation, ago(40) + n)
    after, left = 0, []
    while True:
        after = retention.prune(after)
        left.append(Message.objects.count())
        if not after:
            break
    assert left == [9, 3, 0]


def test_a_step_with_nothing_to_delete_costs_little(
    old_and_new: Conversation, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    retention.prune()
    with django_assert_max_num_queries(8):
        retention.prune()


# Pages


def page(client: Client, conversation: Conversation) -> str:
    return " ".join(client.get(conversation.get_absolute_url()).content.decode().split())


def test_the_page_counts_down_what_goeasy_and_the_archive_still_have(
    client: Client, moderator: Any, old_and_new: Conversation
) -> None:
    client.force_login(moderator)
    shown = page(client, old_and_new)
    # The message of a day ago is the oldest that GoEasy still has.
    assert "the oldest of these messages that it still has goes in 1 week, 1 day" in shown.replace("\xa0", " ")
    assert "30 days: the oldest of these messages goes in 0 minutes" in shown.replace("\xa0", " ")
    assert "Put on hold" not in shown
    Application.objects.update(keep_days=None, history_days=None)
    shown = page(client, old_and_new)
    assert "For ever." in shown
    assert "an admin sets the days" in shown


def test_a_lead_puts_a_conversation_on_hold_and_ends_that(client: Client, lead: Any, old_and_new: Conversation) -> None:
    client.force_login(lead)
    address = reverse("conversation-hold", args=[old_and_new.pk])
    here = old_and_new.get_absolute_url()
    answer = press(client, here, address, held="1", note="<b>court</b>").content.decode()
    assert "The conversation is on hold" in answer
    assert "&lt;b&gt;court&lt;/b&gt;" in answer
    old_and_new.refresh_from_db()
    assert (old_and_new.held_by, old_and_new.held_at is None) == ("lea", False)
    assert "The hold has ended." in press(client, here, address, held="0", note="done").content.decode()
    old_and_new.refresh_from_db()
    assert (old_and_new.held_by, old_and_new.held_at) == ("", None)


@pytest.mark.parametrize("data", [{"held": "1", "note": " "}, {"held": "2", "note": "x"}, {"note": "x"}, {}])
def test_a_hold_without_a_note_or_a_decision_changes_nothing(
    client: Client, lead: Any, old_and_new: Conversation, data: dict[str, str]
) -> None:
    client.force_login(lead)
    client.post(reverse("conversation-hold", args=[old_and_new.pk]), data)
    old_and_new.refresh_from_db()
    assert old_and_new.held_at is None
    assert not AuditEntry.objects.filter(action__startswith="conversation.").exists()


def test_a_date_leads_to_what_was_said_then_in_the_persons_own_time(
    client: Client, moderator: Any, private: Conversation
) -> None:
    moderator.timezone = "Asia/Shanghai"
    moderator.save()
    client.force_login(moderator)
    answer = client.get(private.get_absolute_url(), {"on": "2023-11-15T06:13"})
    assert (answer.status_code, answer["Location"]) == (302, f"{private.get_absolute_url()}?at=1699999980000")
    assert client.get(private.get_absolute_url(), {"on": "some day"}).status_code == 200


def test_the_limits_are_set_in_django_admin(client: Client, administrator: Any, application: Any) -> None:
    client.force_login(administrator)
    address = reverse("admin:applications_application_change", args=[application.pk])
    data = {"name": "GoEasy", "slug": "default", "rest_host_saved": "hangzhou", "keep_days": "90", "history_days": "10"}
    assert client.post(address, data).status_code == 302
    application.refresh_from_db()
    assert (application.keep_days, application.history_days) == (90, 10)
    refused = client.post(address, {**data, "keep_days": "0"}).content.decode()
    assert "greater than or equal to 1" in refused
