"""Customer service and PubSub in deliveries: recognised, counted, kept apart; IM messages beside them are archived."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from moderation.archive.models import Message
from moderation.ingestion import deliveries, erasure, feed
from moderation.ingestion.models import FeedCount, WebhookDelivery

pytestmark = pytest.mark.django_db

FOLDER = Path(__file__).parent / "deliveries"
CUSTOMER_SERVICE, PUBSUB = (
    json.loads((FOLDER / name).read_text()) for name in ("w_to_string_cs.json", "w_pubsub.json")
)
AT = 1_700_000_000_000


def im(number: int) -> dict[str, Any]:
    return {"type": "text", "messageId": f"m-{number}", "timestamp": AT + number, "senderId": "u", "groupId": "g"}


def accept(application: Any, value: Any) -> WebhookDelivery:
    deliveries.accept(application, json.dumps(value, ensure_ascii=False).encode())
    return WebhookDelivery.objects.latest("pk")


def counted() -> dict[str, int]:
    return dict(FeedCount.objects.values_list("what", "number"))


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (CUSTOMER_SERVICE, {"customer_service": 1}),
        (PUBSUB, {"pubsub": 2}),
        ({"type": "CS_ACCEPT", "timestamp": AT, "sessionId": "s"}, {"customer_service": 1}),
        ({"type": "CS_END", "sessionId": "s"}, {"customer_service": 1}),
        ({"content": PUBSUB}, {"pubsub": 2}),
        (json.dumps(CUSTOMER_SERVICE), {"customer_service": 1}),
        ([*CUSTOMER_SERVICE, *PUBSUB], {"customer_service": 1, "pubsub": 2}),
        (
            [{"type": "text", "timestamp": AT, "senderId": "c", "to": {"type": "cs", "id": "s"}}],
            {"customer_service": 1},
        ),
    ],
)
def test_messages_that_are_not_im_are_counted_and_kept_apart(
    application: Any, value: Any, count: dict[str, int]
) -> None:
    delivery = accept(application, value)
    assert (delivery.state, delivery.problem) == ("apart", "apart")
    assert "cannot be recalled" in delivery.why
    assert counted() == count
    assert not Message.objects.exists()
    # The same once more counts once.
    deliveries.accept(application, bytes(delivery.content))
    assert counted() == count


def test_the_im_messages_of_a_mixed_batch_are_archived(application: Any) -> None:
    delivery = accept(application, [im(1), *CUSTOMER_SERVICE, im(2), *PUBSUB])
    assert (delivery.state, delivery.detail) == ("done", "customer_service: 1, pubsub: 2")
    assert Message.objects.count() == 2
    assert counted() == {"customer_service": 1, "pubsub": 2}


def test_a_batch_with_something_unreadable_is_unread_and_keeps_the_rest(application: Any) -> None:
    delivery = accept(application, [im(1), *PUBSUB, "{no JSON"])
    assert (delivery.state, delivery.problem, delivery.detail) == ("unread", "no_message", "1 / 4")
    assert Message.objects.count() == 1
    assert counted() == {"pubsub": 2, "unread": 1}


def test_a_group_message_stays_one_whatever_else_it_says(application: Any) -> None:
    accept(application, [{**im(1), "teamId": "t", "channel": "c", "content": "x"}])
    assert Message.objects.count() == 1
    assert counted() == {}


def test_the_worker_counts_what_a_large_delivery_holds_apart(application: Any) -> None:
    delivery = accept(application, [im(1), *PUBSUB, {**PUBSUB[0], "content": "x" * deliveries.CHEAP_BYTES}])
    assert (delivery.state, counted()) == ("waiting", {})
    deliveries.process_due()
    assert WebhookDelivery.objects.get().state == "done"
    assert counted() == {"pubsub": 3}


def test_deliveries_kept_apart_are_pruned_like_others(application: Any, settings: Any) -> None:
    settings.WEBHOOK_KEEP_DAYS = 30
    for value in (CUSTOMER_SERVICE, PUBSUB, [im(1)]):
        accept(application, value)
    WebhookDelivery.objects.update(received_at=timezone.now() - timedelta(days=31))
    assert deliveries.prune() == 3


def test_erasure_covers_customer_service_messages(application: Any) -> None:
    delivery = accept(application, CUSTOMER_SERVICE)
    accept(application, PUBSUB)
    assert erasure.deliveries_with(application, "cust-1") == {delivery.pk: "apart"}
    assert erasure.deliveries_with(application, "cust-1", [CUSTOMER_SERVICE[0]["timestamp"]]) == {delivery.pk: "apart"}
    assert erasure.deliveries_with(application, "cust-1", [AT]) == {}


def test_erasure_reads_few_deliveries_at_a_time(application: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "DELIVERIES_AT_ONCE", 2)
    kept = [accept(application, [im(number)]).pk for number in range(5)]
    with CaptureQueriesContext(connection) as queries:
        matches = erasure.deliveries_with(application, "u")
    assert list(matches) == kept
    contents = [query["sql"] for query in queries if "LENGTH" in query["sql"].upper() and "<=" in query["sql"]]
    assert contents
    assert all("LIMIT 2" in sql for sql in contents)


def test_the_feed_page_counts_them_and_says_that_they_cannot_be_recalled(
    application: Any, client: Client, moderator: Any
) -> None:
    accept(application, [*CUSTOMER_SERVICE, *PUBSUB])
    client.force_login(moderator)
    page = client.get("/feed/")
    assert "GoEasy cannot recall them" in page.content.decode()
    rows = {what: number for what, number, _in_a_day in page.context["feeds"][0][0].counts}
    assert (rows[feed.Metric.CUSTOMER_SERVICE.label], rows[feed.Metric.PUBSUB.label]) == (1, 2)
    assert "有货吗" not in page.content.decode()


def test_a_private_message_is_archived_whatever_type_its_writer_chose(application: Any) -> None:
    message = {**im(1), "groupId": "", "receiverId": "v", "type": "CS_x"}
    accept(application, message)
    assert Message.objects.get().type == "CS_x"
    assert "customer_service" not in counted()
