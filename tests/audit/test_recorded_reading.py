"""Reading and searching are recorded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from moderation.accounts.models import User
from moderation.applications.models import Application
from moderation.archive.models import Conversation
from moderation.audit import services
from moderation.audit.models import Action, AuditEntry
from moderation.goeasy.client import Private

from .recording import ORIGIN, only_entry

pytestmark = pytest.mark.django_db


def test_opening_a_private_conversation_is_recorded_each_time(browser: Client, moderator: User, private: Any) -> None:
    browser.force_login(moderator)
    for _time in range(2):
        browser.get(private.get_absolute_url())
    for entry in AuditEntry.objects.all():
        assert (entry.actor, entry.action, entry.app) == ("mo", "conversation.opened", "default")
        assert (entry.kind, entry.user_a, entry.user_b) == ("private", "user-a", "user-b")
        assert entry.detail == {"page": "conversation", "from": ORIGIN}
    assert AuditEntry.objects.count() == 2


@pytest.mark.parametrize(
    "query",
    ["", "?at=1700000000000", "?before=", "?before=x", "?after=1700000000000", "?before=1700000000000-1&after=x"],
)
def test_a_header_cannot_disguise_an_opening_as_a_part(
    browser: Client, moderator: User, private: Any, query: str
) -> None:
    browser.force_login(moderator)
    for number in (1, 2):
        browser.get(private.get_absolute_url() + query, headers={"HX-Request": "true"})
        assert AuditEntry.objects.count() == (1 if "-" in query else number)
    page = "conversation: part" if "-" in query else "conversation"
    assert AuditEntry.objects.earliest("pk").detail["page"] == page


def test_opening_a_group_is_recorded_once_an_hour_for_each_reader(
    browser: Client, moderator: User, lead: User, group: Any, make_message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = make_message(group, 1_700_000_000_000)

    def read_all() -> None:
        for reader in (moderator, lead):
            browser.force_login(reader)
            for _time in range(2):
                browser.get(group.get_absolute_url())
                browser.get(f"{group.get_absolute_url()}?before=1700000000001-1", headers={"HX-Request": "true"})
                browser.get(reverse("conversation-select", args=[group.pk]), {"sender": "user-a"})
        browser.get(reverse("admin:archive_message_change", args=[message.pk]))

    read_all()
    entries = AuditEntry.objects.order_by("pk")
    assert [(entry.actor, entry.action, entry.group_id, entry.detail["page"]) for entry in entries] == [
        (reader.get_username(), "conversation.opened", group.group_id, "conversation") for reader in (moderator, lead)
    ]
    monkeypatch.setattr(services, "REPEATED_READ_WINDOW", timedelta(0))
    read_all()
    assert AuditEntry.objects.count() > 4


def test_a_deliverys_raw_text_is_recorded_once_an_hour_for_each_reader(
    browser: Client, auditor: User, administrator: User, moderator: User, application: Application
) -> None:
    from moderation.ingestion import deliveries
    from moderation.ingestion.models import WebhookDelivery

    for content in (b"no JSON", b"no JSON either"):
        deliveries.accept(application, content)
    pks = list(WebhookDelivery.objects.order_by("pk").values_list("pk", flat=True))
    for reader in (auditor, administrator, moderator):
        browser.force_login(reader)
        for pk in pks * 2:
            browser.get(reverse("admin:ingestion_webhookdelivery_change", args=[pk]))
    entries = AuditEntry.objects.filter(action=Action.DELIVERY_READ).order_by("pk")
    assert [(entry.actor, entry.app, entry.detail["delivery"]) for entry in entries] == [
        (reader.get_username(), "default", pk) for reader in (auditor, administrator) for pk in pks
    ]


def test_requests_of_an_open_page_are_not_recorded_again(browser: Client, moderator: User, private: Any) -> None:
    browser.force_login(moderator)
    browser.get(reverse("conversation-news", args=[private.pk]))
    assert not AuditEntry.objects.exists()
    browser.get(private.get_absolute_url())
    browser.get(f"{private.get_absolute_url()}?before=1700000000000-1", headers={"HX-Request": "true"})
    browser.get(reverse("conversation-select", args=[private.pk]), {"sender": "user-a"})
    assert only_entry() == ("mo", "conversation.opened", {"page": "conversation"})


def test_parts_requested_by_hand_are_recorded_once_an_hour_for_each_reader_and_conversation(
    browser: Client, moderator: User, lead: User, private: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Conversation.objects.open(private.application, Private("user-a", "user-c"))

    def read_all() -> int:
        for reader in (moderator, lead):
            browser.force_login(reader)
            for conversation in (private, other):
                for _time in range(2):
                    browser.get(reverse("conversation-select", args=[conversation.pk]), {"sender": "user-a"})
                    later = f"{conversation.get_absolute_url()}?after=1700000000000-1"
                    browser.get(later, headers={"HX-Request": "true"})
        return AuditEntry.objects.filter(detail__page="conversation: selection").count()

    assert read_all() == read_all() == AuditEntry.objects.count() == 4
    monkeypatch.setattr(services, "REPEATED_READ_WINDOW", timedelta(0))
    assert read_all() > 8


def test_a_message_read_in_django_admin_is_recorded(admin: Client, private: Any, group: Any, make_message: Any) -> None:
    for conversation in (private, group):
        message = make_message(conversation, 1_700_000_000_000)
        admin.get(reverse("admin:archive_message_change", args=[message.pk]))
    entries = AuditEntry.objects.order_by("pk")
    assert [(entry.actor, entry.action, entry.kind, entry.detail["page"]) for entry in entries] == [
        ("ada", "conversation.opened", kind, "admin: message") for kind in ("private", "group")
    ]


@pytest.mark.parametrize(
    ("address", "page", "query"),
    [
        ("/conversations/?q=王伟", "messages", {"q": "王伟"}),
        ("/open/?q=user-a", "open", {"q": "user-a"}),
        ("/admin/archive/message/?sender=user-a&recalled=", "admin: message", {"sender": ["user-a"]}),
        ("/admin/archive/conversation/?ids=user-a", "admin: conversation", {"ids": ["user-a"]}),
    ],
)
def test_searching_is_recorded(admin: Client, address: str, page: str, query: dict[str, Any]) -> None:
    admin.get(address)
    assert only_entry() == ("ada", "messages.searched", {"page": page, "asked": query})


def test_the_preview_of_a_sweep_is_recorded_as_a_search(
    browser: Client, moderator: User, private: Any, reason: Any
) -> None:
    browser.force_login(moderator)
    form = {"app": "default", "sender": "user-a", "since": "2026-01-01T00:00", "until": "2026-01-02T00:00"}
    browser.post(reverse("sweep-new"), {**form, "reason": reason.code, "submission": str(uuid4())})
    actor, action, detail = only_entry()
    assert (actor, action, detail["page"]) == ("mo", "messages.searched", "sweep")
    assert detail["asked"]["sender"] == "user-a"


def test_a_list_without_a_query_is_not_recorded_as_a_search(admin: Client) -> None:
    for address in ("/conversations/", "/conversations/?q=", "/open/", "/admin/archive/message/?before=1"):
        admin.get(address)
    assert not AuditEntry.objects.exists()
