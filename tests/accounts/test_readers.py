"""A reader who opens far more conversations than is usual raises an alarm."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client

from moderation.accounts import readers
from moderation.accounts.models import ReaderAlarm
from moderation.archive.models import Conversation
from moderation.audit.models import Action, AuditEntry
from moderation.audit.ocsf import outcome
from moderation.goeasy.client import Group
from moderation.operations import alarms

pytestmark = pytest.mark.django_db

NOW = datetime.fromisoformat("2026-01-02T03:04:05+00:00")


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture(autouse=True)
def low_limit(settings: Any) -> None:
    settings.READER_ALARM_PER_HOUR = 3


def read(client: Client, application: Any, number: int) -> None:
    for each in range(number):
        client.get(Conversation.objects.open(application, Group(f"g-{each}")).get_absolute_url())


def raised() -> list[dict[str, Any]]:
    return list(AuditEntry.objects.filter(action=Action.READER_ALARM).order_by("pk").values_list("detail", flat=True))


def test_more_than_the_limit_raises_one_alarm_an_hour(
    client: Client, moderator: Any, make_user: Any, application: Any, clock: Any
) -> None:
    make_user("ada", "admin", email="ada@example.com")
    make_user("zhao", "admin", email="zhao@example.com", language="zh-hans")
    client.force_login(moderator)
    read(client, application, 3)
    read(client, application, 3)
    alarms.watch()
    assert raised() == []
    read(client, application, 4)
    for _time in range(3):
        alarms.watch()
    assert raised() == [{"reader": "mo", "number": 4, "limit": 3}]
    assert sorted(message.to[0] for message in mail.outbox) == ["ada@example.com", "zhao@example.com"]
    assert "mo opened unusually many conversations" in mail.outbox[0].subject
    assert "4 conversations" in mail.outbox[0].body
    clock.shift(timedelta(minutes=59))
    alarms.watch()
    assert len(raised()) == 1
    clock.shift(timedelta(minutes=2))
    alarms.watch()
    assert len(raised()) == 1, "nothing was opened in the last hour"
    read(client, application, 5)
    alarms.watch()
    assert [each["number"] for each in raised()] == [4, 5]
    assert len(mail.outbox) == 4


def test_one_conversation_opened_often_is_one(client: Client, moderator: Any, private: Any) -> None:
    client.force_login(moderator)
    for _time in range(6):
        client.get(private.get_absolute_url())
    alarms.watch()
    assert AuditEntry.objects.filter(action=Action.CONVERSATION_OPENED).count() == 6
    assert raised() == []


def test_deliveries_that_are_read_count_as_well(client: Client, auditor: Any, application: Any) -> None:
    from django.urls import reverse

    from moderation.ingestion import deliveries
    from moderation.ingestion.models import WebhookDelivery

    client.force_login(auditor)
    for number in range(4):
        deliveries.accept(application, b"no JSON %d" % number)
    for delivery in WebhookDelivery.objects.all():
        client.get(reverse("admin:ingestion_webhookdelivery_change", args=[delivery.pk]))
    alarms.watch()
    assert [each["reader"] for each in raised()] == ["audrey"]


def test_a_limit_of_zero_raises_none(client: Client, moderator: Any, application: Any, settings: Any) -> None:
    settings.READER_ALARM_PER_HOUR = 0
    client.force_login(moderator)
    read(client, application, 5)
    alarms.watch()
    assert raised() == []


def test_home_shows_admins_and_auditors_who_read_much(
    client: Client, moderator: Any, lead: Any, auditor: Any, administrator: Any, clock: Any
) -> None:
    ReaderAlarm.objects.create(reader="mo", at=NOW, number=412)
    for user, sees in ((moderator, False), (lead, False), (auditor, True), (administrator, True)):
        client.force_login(user)
        assert ("mo opened unusually many conversations." in client.get("/").content.decode()) is sees
    clock.shift(timedelta(hours=25))
    client.force_login(auditor)
    assert "unusually many" not in client.get("/").content.decode()


def test_an_e_mail_that_cannot_be_sent_is_tried_again(make_user: Any, settings: Any) -> None:
    make_user("ada", "admin", email="ada@example.com")
    readers.raise_alarm("mo", 412, 3)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    # Nobody listens there.
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    readers.watch()
    assert ReaderAlarm.objects.get().mailed_at is None
    settings.EMAIL_BACKEND = f"{EmailBackend.__module__}.EmailBackend"
    readers.watch()
    readers.watch()
    assert len(mail.outbox) == 1


def test_an_alarm_is_of_medium_severity_to_other_systems() -> None:
    assert outcome({"action": "reader.alarm", "detail": {}, "response_code": None}) == (1, 3)
    assert outcome({"action": "auth.password_refused", "detail": {}, "response_code": None}) == (2, 2)
