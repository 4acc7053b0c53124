"""The feed stops for an hour: an alarm is raised within minutes, and no message of that hour stays missing."""

from __future__ import annotations

import json
import urllib.parse
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from moderation.archive.models import Conversation, Message
from moderation.archive.moments import in_ms
from moderation.goeasy.signing import sign
from moderation.ingestion import comparison, feed
from moderation.ingestion.models import WebhookDelivery
from moderation.operations import alarms
from moderation.operations.models import Heartbeat

pytestmark = pytest.mark.django_db

SECRET = "0123456789abcdef"
GROUPS = ("g-0", "g-1", "g-2")
# A message every 12 seconds: 300 an hour.
BETWEEN = timedelta(seconds=12)
OUTAGE = timedelta(hours=1)
# Interval of the worker's checks.
LOOK = timedelta(seconds=30)


def text(number: int, at: datetime) -> dict[str, Any]:
    """A message of one of the groups."""
    return {
        "type": "text",
        "messageId": f"m-{number}",
        "timestamp": in_ms(at) + number % 7,
        "senderId": f"u-{number % 3}",
        "groupId": GROUPS[number % 3],
        "payload": {"text": f"消息 {number}"},
    }


def send(sandbox: Any, message: dict[str, Any]) -> None:
    """Put a message into GoEasy's history."""
    sandbox.add_messages({"kind": "group", "group_id": message["groupId"]}, [message])


def deliver(client: Client, message: dict[str, Any]) -> None:
    """Deliver a message by the webhook."""
    content = json.dumps([message], ensure_ascii=False)
    body = urllib.parse.urlencode({"content": content})
    headers = {"x-goeasy-signature": sign(SECRET, content)}
    form = "application/x-www-form-urlencoded"
    answer = client.post("/webhooks/goeasy/default/", body, content_type=form, headers=headers)
    assert answer.status_code == 200


def lacking(sandbox: Any, group: str) -> int:
    """Number of GoEasy's messages of a group that the archive lacks."""
    there = {message["messageId"] for message in sandbox.messages({"kind": "group", "group_id": group})}
    return len(there - set(Message.objects.filter(conversation__group_id=group).values_list("message_id", flat=True)))


def test_an_hour_without_the_webhook_raises_an_alarm_within_five_minutes_and_is_filled_in(
    connected: Any, sandbox: Any, client: Client, settings: Any, administrator: Any, make_user: Any, time_machine: Any
) -> None:
    settings.GOEASY_SECRET_KEYS = [SECRET]
    make_user("al", "admin", email="al@example.com")
    start = feed.hour_of(timezone.now().astimezone(UTC)) - timedelta(hours=4)
    # The feed is two hours old, so there is no usual count for an hour yet.
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(application=connected, received_at=start + number * BETWEEN, sha256=str(number), state="done")
        for number in range(600)
    )
    now = start + 600 * BETWEEN
    for number in range(30):
        now += BETWEEN
        time_machine.move_to(now, tick=False)
        send(sandbox, message := text(number, now))
        deliver(client, message)
    alarms.watch()
    assert feed.state_of_all() == "ok"

    # The webhook is off while people go on writing, also in a new group.
    stopped, number, alarm_after = now, 30, None
    while now < stopped + OUTAGE:
        now += LOOK
        time_machine.move_to(now, tick=False)
        for _message in range(2):
            number += 1
            send(sandbox, text(number, now))
        alarms.watch()
        if alarm_after is None and mail.outbox:
            alarm_after = now - stopped
    send(sandbox, {**text(1_000, now), "groupId": "g-new"})
    assert alarm_after is not None
    assert alarm_after <= timedelta(minutes=5)
    assert [message.to for message in mail.outbox] == [["al@example.com"]], "once"
    Heartbeat.objects.create(worker="w", at=now)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["feed"]) == (503, "default: silent")
    client.force_login(administrator)
    assert "needs attention" in client.get("/").content.decode()
    assert "No messages arrive any more." in client.get("/feed/").content.decode()
    assert sum(lacking(sandbox, group) for group in GROUPS) == number - 30

    # Switched on again. The next message comes by itself, and history has those that did not.
    now += LOOK
    time_machine.move_to(now, tick=False)
    send(sandbox, message := text(number + 1, now))
    deliver(client, message)
    time_machine.move_to(now := now + 3 * feed.ON_ITS_WAY, tick=False)
    assert comparison.compare_due() == len(GROUPS)
    assert [lacking(sandbox, group) for group in GROUPS] == [0, 0, 0]
    alarms.watch()
    assert feed.state_of_all() == "default: gap"
    # The new group is unknown here, so a person names it.
    assert not Conversation.objects.filter(group_id="g-new").exists()
    call_command("backfill", group="g-new", verbosity=0)
    assert lacking(sandbox, "g-new") == 0
    time_machine.move_to(now + 2 * feed.GAP_LASTS, tick=False)
    WebhookDelivery.objects.update(received_at=timezone.now())
    alarms.watch()
    assert feed.state_of_all() == "ok"
