"""A reader who opens unusually many conversations raises an alarm."""

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
from moderation.audit.ledger.ocsf import outcome
from moderation.audit.models import Action, AuditEntry
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


def open_conversations(client: Client, application: Any, number: int) -> None:
    for each in range(number):
        client.get(Conversation.objects.open(application, Group(f"g-{each}")).get_absolute_url())


def recorded_alarms() -> list[dict[str, Any]]:
    return list(AuditEntry.objects.filter(action=Action.READER_ALARM).order_by("pk").values_list("detail", flat=True))


def test_a_reader_over_the_limit_raises_one_alarm_an_hour(
    client: Client, moderator: Any, make_user: Any, application: Any, clock: Any
) -> None:
    make_user("ada", "admin", email="ada@example.com")
    make_user("zhao", "admin", email="zhao@example.com", language="zh-hans")
    client.force_login(moderator)
    open_conversations(client, application, 3)
    open_conversations(client, application, 3)
    alarms.watch()
    assert recorded_alarms() == []
    open_conversations(client, application, 4)
    for _time in range(3):
        alarms.watch()
    assert recorded_alarms() == [{"reader": "mo", "number": 4, "limit": 3}]
    assert sorted(message.to[0] for message in mail.outbox) == ["ada@example.com", "zhao@example.com"]
    assert "mo opened unusually many conversations" in mail.outbox[0].subject
    assert "4 conversations" in mail.outbox[0].body
    clock.shift(timedelta(minutes=59))
    alarms.watch()
    assert len(recorded_alarms()) == 1
    clock.shift(timedelta(minutes=2))
    alarms.watch()
    assert len(recorded_alarms()) == 1, "nothing was opened in the last hour"
    open_conversations(client, application, 5)
    alarms.watch()
    assert [each["number"] for each in recorded_alarms()] == [4, 5]
    assert len(mail.outbox) == 4


def test_a_conversation_that_is_opened_again_counts_once(client: Client, moderator: Any, private: Any) -> None:
    client.force_login(moderator)
    for _time in range(6):
        client.get(private.get_absolute_url())
    alarms.watch()
    assert AuditEntry.objects.filter(action=Action.CONVERSATION_OPENED).count() == 6
    assert recorded_alarms() == []


def test_opened_deliveries_count(client: Client, auditor: Any, application: Any) -> None:
    from django.urls import reverse

    from moderation.ingestion import deliveries
    from moderation.ingestion.models import WebhookDelivery

    client.force_login(auditor)
    for number in range(4):
        deliveries.accept(application, b"no JSON %d" % number)
    for delivery in WebhookDelivery.objects.all():
        client.get(reverse("admin:ingestion_webhookdelivery_change", args=[delivery.pk]))
    alarms.watch()
    assert [each["reader"] for each in recorded_alarms()] == ["audrey"]


def test_a_limit_of_zero_turns_alarms_off(client: Client, moderator: Any, application: Any, settings: Any) -> None:
    settings.READER_ALARM_PER_HOUR = 0
    client.force_login(moderator)
    open_conversations(client, application, 5)
    alarms.watch()
    assert recorded_alarms() == []


def test_home_shows_alarms_to_admins_and_auditors(
    client: Client, moderator: Any, lead: Any, auditor: Any, administrator: Any, clock: Any
) -> None:
    ReaderAlarm.objects.create(reader="mo", at=NOW, number=412)
    for user, sees in ((moderator, False), (lead, False), (auditor, True), (administrator, True)):
        client.force_login(user)
        assert ("mo opened unusually many conversations." in client.get("/").content.decode()) is sees
    clock.shift(timedelta(hours=25))
    client.force_login(auditor)
    assert "unusually many" not in client.get("/").content.decode()


def test_a_failed_e_mail_is_sent_again(make_user: Any, settings: Any) -> None:
    make_user("ada", "admin", email="ada@example.com")
    readers.raise_alarm("mo", 412, 3)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    # Nothing listens on this port.
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    readers.check_readers()
    assert ReaderAlarm.objects.get().mailed_at is None
    settings.EMAIL_BACKEND = f"{EmailBackend.__module__}.EmailBackend"
    readers.check_readers()
    readers.check_readers()
    assert len(mail.outbox) == 1


def test_an_alarm_has_medium_severity_in_ocsf() -> None:
    assert outcome({"action": "reader.alarm", "detail": {}, "response_code": None}) == (1, 3)
    assert outcome({"action": "auth.password_refused", "detail": {}, "response_code": None}) == (2, 2)
