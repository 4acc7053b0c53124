"""Unreadable deliveries: they raise their own alarm, and messages in them do not count as missed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import Error
from django.test import Client
from django.utils import timezone

from moderation.archive import rows
from moderation.archive.models import Message
from moderation.archive.moments import in_ms
from moderation.ingestion import deliveries, feed
from moderation.ingestion.models import Feed, WebhookDelivery
from moderation.operations import alarms

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
AT = 1_700_000_000_000


def unread(application: Any, number: int = 1, *, age: timedelta = timedelta(0)) -> WebhookDelivery:
    """Store unreadable deliveries and return the last one."""
    first = WebhookDelivery.objects.count()
    for each in range(first, first + number):
        deliveries.accept(application, f"secret words {each}".encode())
    newest = WebhookDelivery.objects.latest("pk")
    WebhookDelivery.objects.filter(pk__gt=newest.pk - number).update(received_at=timezone.now() - age)
    return newest


def state(application: Any) -> str:
    return feed.take_stock(application).alarm


def test_deliveries_that_cannot_be_read_are_an_alarm_until_they_are_read(application: Any) -> None:
    newest = unread(application, 3)
    assert state(application) == "unread"
    assert feed.state_of_all() == "default: unread"
    WebhookDelivery.objects.filter(state="unread").update(content=b"[]")
    for delivery in WebhookDelivery.objects.all():
        deliveries.process(delivery)
    newest.refresh_from_db()
    assert (newest.state, state(application)) == ("done", "")


def test_after_a_day_without_another_the_alarm_is_over(application: Any) -> None:
    unread(application, age=25 * HOUR)
    assert state(application) == ""


def test_the_email_has_the_number_and_the_newest_delivery_without_its_content(application: Any, make_user: Any) -> None:
    make_user("ada", "admin", email="ada@example.com")
    newest = unread(application, 3)
    alarms.watch()
    (message,) = mail.outbox
    assert "cannot be read" in message.subject
    assert "3 deliveries of the last day could not be read." in message.body
    assert f"number {newest.pk}" in message.body
    assert "It is not JSON." in message.body
    assert "secret words" not in message.body
    # Silence is another alarm and is reported, too.
    Feed.objects.update(first_at=timezone.now() - 5 * HOUR)
    WebhookDelivery.objects.update(received_at=timezone.now() - HOUR)
    for number in range(1, 5):
        feed.count(application, feed.Metric.DELIVERED, 600, at=timezone.now() - number * HOUR)
    alarms.watch()
    assert "No messages arrive any more." in mail.outbox[1].body


def test_a_moderator_sees_numbers_and_no_text(application: Any, client: Client, moderator: Any, auditor: Any) -> None:
    newest = unread(application, 3)
    alarms.watch()
    client.force_login(moderator)
    page = client.get("/feed/").content.decode()
    assert "3 deliveries of the last day could not be read." in page
    assert "It is not JSON." in page
    assert "secret words" not in page
    assert "/admin/" not in page
    client.force_login(auditor)
    assert f"/admin/ingestion/webhookdelivery/{newest.pk}/change/" in client.get("/feed/").content.decode()


def test_messages_that_an_unread_delivery_may_hold_do_not_count_as_missed(application: Any) -> None:
    now = timezone.now()
    Feed.objects.create(application=application, first_at=now - 5 * HOUR)
    unread(application, age=2 * HOUR)
    before, after = in_ms(now - 3 * HOUR), in_ms(now - HOUR)
    # GoEasy delivers a message after it was sent: the first may be in it, the second cannot.
    assert feed.note_missed(application, [before]) == 0
    assert Feed.objects.get().gap_at is None
    assert feed.note_missed(application, [before, after]) == 1


def large(number: int) -> bytes:
    return json.dumps(
        [
            {
                "type": "text",
                "messageId": f"m-{each}",
                "timestamp": AT + each,
                "senderId": "u",
                "groupId": "g",
                "payload": {"text": "x" * 200},
            }
            for each in range(number)
        ]
    ).encode()


def test_a_large_delivery_that_fails_half_way_is_read_to_its_end_the_next_time(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = rows.insert_messages

    def refuse_the_second_slice(messages: Any) -> Any:
        if any(message.message_id == f"m-{deliveries.SLICE}" for message in messages):
            raise Error("no room")
        return write(messages)

    deliveries.accept(application, large(1_200))
    with monkeypatch.context() as patch:
        patch.setattr(rows, "insert_messages", refuse_the_second_slice)
        deliveries.process_due()
    assert (WebhookDelivery.objects.get().state, Message.objects.count()) == ("waiting", deliveries.SLICE)
    WebhookDelivery.objects.update(retry_at=timezone.now())
    deliveries.process_due()
    assert (WebhookDelivery.objects.get().state, Message.objects.count()) == ("done", 1_200)


def test_one_delivery_at_a_time_is_in_the_workers_memory(application: Any, django_assert_max_num_queries: Any) -> None:
    for number in (700, 800, 900):
        deliveries.accept(application, large(number))
    contents = []
    process = deliveries.process

    def watched(delivery: WebhookDelivery) -> None:
        contents.append(len(delivery.content))
        process(delivery)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deliveries, "process", watched)
        with django_assert_max_num_queries(200) as queries:
            assert deliveries.process_due() == 3
    fetched = [
        query["sql"] for query in queries.captured_queries if '"content"' in query["sql"] and "SELECT" in query["sql"]
    ]
    assert len(fetched) == len(contents) == 3


def test_a_large_delivery_is_not_shown_whole_and_read_again_by_the_worker(
    application: Any, client: Client, administrator: Any
) -> None:
    client.force_login(administrator)
    deliveries.accept(application, b"no JSON " + b"x" * 2_000_000)
    deliveries.process_due()
    delivery = WebhookDelivery.objects.get()
    assert delivery.state == "unread"
    page = client.get(f"/admin/ingestion/webhookdelivery/{delivery.pk}/change/").content.decode()
    assert "this is the beginning" in page
    assert len(page) < 200_000
    client.post(f"/admin/ingestion/webhookdelivery/{delivery.pk}/retry/")
    delivery.refresh_from_db()
    assert (delivery.state, delivery.problem) == ("waiting", "large")
