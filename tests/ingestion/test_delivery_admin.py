"""Deliveries in Django admin: unreadable ones are shown with the reason and can be read again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from moderation.archive.models import Message
from moderation.ingestion import deliveries
from moderation.ingestion.models import WebhookDelivery

pytestmark = pytest.mark.django_db

LIST = "/admin/ingestion/webhookdelivery/"
MESSAGE = {"timestamp": 1_700_000_000_000, "messageId": "m", "senderId": "a", "receiverId": "b", "payload": "<b>hi</b>"}


@pytest.fixture
def delivery(application: Any) -> WebhookDelivery:
    deliveries.accept(application, b"<i>no</i> JSON \xff")
    return WebhookDelivery.objects.get()


def test_an_unreadable_delivery_is_shown_with_the_reason(
    client: Client, auditor: Any, delivery: WebhookDelivery, application: Any
) -> None:
    deliveries.accept(application, json.dumps(MESSAGE).encode())
    client.force_login(auditor)
    listed = client.get(LIST, {"state": "unread"})
    assert [each.pk for each in listed.context["cl"].result_list] == [delivery.pk]
    assert "It is not text in UTF-8." in listed.content.decode()
    page = client.get(f"{LIST}{delivery.pk}/change/").content.decode()
    assert "&lt;i&gt;no&lt;/i&gt; JSON \\xff" in page
    assert "again" not in page, "an auditor changes nothing"


def test_an_admin_reads_it_again_and_sees_what_came_of_it(
    client: Client, administrator: Any, delivery: WebhookDelivery
) -> None:
    client.force_login(administrator)
    address = f"{LIST}{delivery.pk}/change/"
    assert "Read it into the archive again" in client.get(address).content.decode()
    retried = client.post(f"{LIST}{delivery.pk}/retry/", follow=True)
    assert "It is not text in UTF-8." in [str(message).split(" (")[0] for message in retried.context["messages"]]
    # Simulates a later version that can read it.
    WebhookDelivery.objects.update(content=json.dumps(MESSAGE).encode())
    retried = client.post(f"{LIST}{delivery.pk}/retry/", follow=True)
    assert [str(message) for message in retried.context["messages"]] == ["Its messages are in the archive now."]
    assert Message.objects.get().message_id == "m"
    assert "Read it into" not in client.get(address).content.decode()
