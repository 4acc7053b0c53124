"""The webhook under each behaviour that GoEasy's documentation leaves open, over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moderation.archive.models import Message
from moderation.goeasy.client import Client, Private
from moderation.goeasy.sandbox import Behaviour, Sandbox
from moderation.ingestion import deliveries, feed
from moderation.ingestion.models import FeedCount, WebhookDelivery

pytestmark = pytest.mark.django_db(transaction=True)

PAIR = {"kind": "private", "user_a": "10086", "user_b": "10010"}
READ: list[dict[str, Any]] = [
    {},
    {"webhook_as": "json"},
    {"webhook_as": "multipart"},
    {"webhook_wraps": "object"},
    {"webhook_wraps": "envelope"},
    {"webhook_wraps": "text"},
    {"webhook_packs": 1000},
    {"webhook_mixed_cs": True},
    {"webhook_mixed_pubsub": True},
    {"webhook_mixed_cs": True, "webhook_mixed_pubsub": True, "webhook_wraps": "envelope"},
    {"timestamps_as_text": True},
    {"numeric_ids": True},
    {"payload_as_text": True},
]


def name_of(behaviour: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in behaviour.items()) or "as documented"


@pytest.fixture
def goeasy(tmp_path: Path, application: Any, settings: Any, live_server: Any) -> Iterator[Sandbox]:
    """A sandbox that delivers to this console."""
    webhook = f"{live_server.url}/webhooks/goeasy/default/"
    with Sandbox(data=tmp_path / "goeasy.sqlite3", webhook_url=webhook) as sandbox:
        settings.GOEASY_APPKEY, settings.GOEASY_REST_HOST = sandbox.appkey, sandbox.url
        settings.GOEASY_SECRET_KEYS = [sandbox.secret_key]
        yield sandbox


@pytest.fixture
def client_of(goeasy: Sandbox) -> Iterator[Client]:
    """A client of the sandbox."""
    with Client(appkey=goeasy.appkey, rest_host=goeasy.url) as client:
        yield client


def say(client: Client, *texts: str) -> None:
    for text in texts:
        client.send(
            sender_id="10086",
            to=("private", "10010"),
            type="text",
            payload={"text": text},
            sender_data={"name": "老王"},
            to_data={"name": "Mei"},
        )


def wait_until(condition: Callable[[], object]) -> None:
    """Process postponed deliveries, like a worker, until `condition` holds."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 5 seconds"
        deliveries.process_due()
        time.sleep(0.02)


def counted(what: feed.Metric) -> int:
    return sum(FeedCount.objects.filter(what=what).values_list("number", flat=True))


@pytest.mark.parametrize("behaviour", READ, ids=name_of)
def test_messages_reach_the_archive_under_this_behaviour(
    behaviour: dict[str, Any], goeasy: Sandbox, client_of: Client
) -> None:
    goeasy.behaviour = Behaviour.parse(behaviour)
    say(client_of, "早上好", "Morning", "🙏")
    wait_until(lambda: Message.objects.count() >= 3)
    messages = list(Message.objects.order_by("timestamp", "pk"))
    assert len(messages) == 3
    assert {message.conversation.target for message in messages} == {Private("10010", "10086")}
    assert {message.sender_id for message in messages} == {"10086"}
    kept = {message["timestamp"] for message in goeasy.messages(PAIR)}
    assert {message.timestamp for message in messages} == kept
    assert not WebhookDelivery.objects.filter(state=WebhookDelivery.State.UNREAD).exists()
    assert set(WebhookDelivery.objects.values_list("form", flat=True)) == {behaviour.get("webhook_as", "form")}
    # What is none of IM is kept apart, and counted.
    assert (counted(feed.Metric.CUSTOMER_SERVICE) > 0) is behaviour.get("webhook_mixed_cs", False)
    assert (counted(feed.Metric.PUBSUB) > 0) is behaviour.get("webhook_mixed_pubsub", False)
    assert goeasy.webhook is not None
    assert goeasy.webhook.is_on


def test_a_recall_reported_by_the_webhook_is_recorded(goeasy: Sandbox, client_of: Client) -> None:
    goeasy.behaviour = Behaviour(webhook_reports_recalls=True)
    say(client_of, "one")
    wait_until(lambda: Message.objects.exists())
    message = Message.objects.get()
    client_of.recall(target=Private("10010", "10086"), timestamps=[message.timestamp])
    wait_until(lambda: Message.objects.filter(recalled=True).exists())
    assert Message.objects.count() == 1


def test_abbreviated_messages_are_kept_and_counted_as_unread(goeasy: Sandbox, client_of: Client) -> None:
    goeasy.behaviour = Behaviour(abbreviated=True)
    say(client_of, "one")
    wait_until(lambda: counted(feed.Metric.UNREAD))
    assert WebhookDelivery.objects.get().state == WebhookDelivery.State.UNREAD
    assert not Message.objects.exists()
    assert goeasy.webhook is not None
    assert goeasy.webhook.is_on


def test_a_signature_of_the_whole_body_is_refused_and_counted(goeasy: Sandbox, client_of: Client) -> None:
    goeasy.behaviour = Behaviour(webhook_signs_body=True)
    say(client_of, "one")
    assert goeasy.webhook is not None
    wait_until(lambda: goeasy.webhook and not goeasy.webhook.is_on)
    assert not WebhookDelivery.objects.exists()
    # Under its own name, where there is one.
    names = [getattr(feed.Metric, name) for name in ("SIGNED_BODY", "WRONG_SIGNATURE") if hasattr(feed.Metric, name)]
    assert sum(map(counted, names)) == 3
