"""Storage of webhook deliveries: shared commits, retries, the worker, and pruning."""

from __future__ import annotations

import gc
import hashlib
import sqlite3
import threading
from typing import Any

import pytest
from django.db import Error, OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from moderation.archive import rows
from moderation.archive.models import Conversation, Message
from moderation.ingestion import deliveries
from moderation.ingestion.models import WebhookDelivery
from tests.ingestion.signed import SECRET, as_text, counted, deliver, is_acknowledged, message_data

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def secret(application: Any, settings: Any) -> None:
    settings.GOEASY_SECRET_KEYS = [SECRET]


def test_a_large_delivery_is_read_by_the_worker(client: Client) -> None:
    deliver(client, as_text([message_data(number, payload={"text": "x" * 1_000}) for number in range(300)]))
    assert (Message.objects.count(), WebhookDelivery.objects.get().problem) == (0, "large")
    assert deliveries.process_due() == 1
    assert (Message.objects.count(), WebhookDelivery.objects.get().state) == (300, "done")
    assert deliveries.process_due() == 0


def test_the_same_delivery_twice_is_one_row_and_acknowledged(client: Client) -> None:
    for content in (
        as_text([message_data()]),
        "no JSON",
        as_text([message_data(number, payload="x" * 2_000) for number in range(100)]),
    ):
        assert is_acknowledged(deliver(client, content))
        assert is_acknowledged(deliver(client, content))
        assert WebhookDelivery.objects.filter(sha256=hashlib.sha256(content.encode()).hexdigest()).count() == 1
    assert counted()["repeated"] == 3


def test_concurrent_deliveries_share_a_commit(application: Any, private: Conversation) -> None:
    good = as_text([message_data(1), message_data(2)])
    contents = [good, as_text(message_data(3)), as_text(message_data(4)), good, "no JSON"]
    with CaptureQueriesContext(connection) as alone:
        deliveries.store([deliveries.IncomingDelivery(application, as_text(message_data(0)).encode())])
    given = [deliveries.IncomingDelivery(application, content.encode()) for content in contents]
    rows.clear_caches()
    with CaptureQueriesContext(connection) as together:
        deliveries.store(given)
    assert len(together) == len(alone)
    assert [(each.is_new, each.error) for each in given] == [*[(True, None)] * 3, (False, None), (True, None)]
    assert WebhookDelivery.objects.count() == 5
    assert Message.objects.count() == 5


def test_one_that_fails_is_put_off_and_those_beside_it_are_in_the_archive(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = rows.insert_messages

    def refuse_one(messages: Any) -> Any:
        if any(message.message_id == "m-2" for message in messages):
            raise Error("this one cannot be written")
        return write(messages)

    monkeypatch.setattr(rows, "insert_messages", refuse_one)
    given = [deliveries.IncomingDelivery(application, as_text(message_data(number)).encode()) for number in range(4)]
    deliveries.store(given)
    assert all(each.is_new and each.error is None for each in given)
    assert sorted(Message.objects.values_list("message_id", flat=True)) == ["m-0", "m-1", "m-3"]
    assert WebhookDelivery.objects.get(state="waiting").problem == "failed"


@pytest.mark.django_db(transaction=True)
def test_threads_that_come_while_another_is_writing_are_all_answered(application: Any) -> None:
    turn = deliveries.CommitQueue()
    given = [deliveries.IncomingDelivery(application, as_text(message_data(number)).encode()) for number in range(8)]

    def leave(each: deliveries.IncomingDelivery) -> None:
        turn.store(each)
        connection.close()

    threads = [threading.Thread(target=leave, args=(each,)) for each in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert all(each.is_done and each.is_new and each.error is None for each in given)
    assert Message.objects.count() == 8


def test_the_same_message_in_two_deliveries_is_one_row(client: Client) -> None:
    without_id = {name: value for name, value in message_data(5).items() if name != "messageId"}
    deliver(client, as_text([message_data(), message_data(1), without_id]))
    deliver(client, as_text([message_data(1), without_id, message_data(2), message_data()]))
    assert Message.objects.count() == 4


def test_a_mark_that_comes_before_its_message_is_remembered_and_the_message_is_kept(client: Client) -> None:
    mark = as_text(message_data(recalled=True, payload=None, recaller={"id": "support"}))
    said = as_text(message_data())
    for order in ([mark, said], [said, mark]):
        Message.objects.all().delete()
        WebhookDelivery.objects.all().delete()
        for content in order:
            deliver(client, content)
        message = Message.objects.get()
        assert (message.recalled, message.raw, message.recalled_raw) == (True, said, mark)
        assert message.recaller == {"id": "support"}
        assert message.sha256 == hashlib.sha256(said.encode()).hexdigest()
    Message.objects.all().delete()
    deliver(client, f"[{mark}, {said}]")
    assert (Message.objects.get().raw, Message.objects.get().recalled) == (said, True)


def test_a_database_that_takes_nothing_is_no_acknowledgement(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*arguments: Any) -> None:
        raise Error("gone")

    with connection.execute_wrapper(lambda execute, sql, *rest: away() if "delivery" in sql else execute(sql, *rest)):
        assert deliver(client, as_text(message_data())).status_code == 503
    assert counted() == {"not_stored": 1}
    assert is_acknowledged(deliver(client, as_text(message_data())))


def test_messages_that_cannot_be_kept_leave_a_delivery_that_waits_and_is_tried_again(client: Client) -> None:
    def away(execute: Any, sql: str, *rest: Any) -> Any:
        if "archive_message" in sql:
            raise Error("no")
        return execute(sql, *rest)

    with connection.execute_wrapper(away):
        assert is_acknowledged(deliver(client, as_text(message_data())))
        delivery = WebhookDelivery.objects.get()
        assert (delivery.state, delivery.problem, delivery.detail) == ("waiting", "failed", "Error")
        assert delivery.retry_at is not None
        for _try in range(deliveries.MAX_TRIES):
            assert WebhookDelivery.objects.get().state == "waiting"
            WebhookDelivery.objects.update(retry_at=delivery.received_at)
            assert deliveries.process_due() == 1
        assert WebhookDelivery.objects.get().state == "unread"
    deliveries.process(WebhookDelivery.objects.get())
    assert (Message.objects.count(), WebhookDelivery.objects.get().state) == (1, "done")


@pytest.mark.parametrize("days", [0, 30])
def test_archived_deliveries_are_pruned_after_their_days_and_unreadable_ones_stay(
    client: Client, settings: Any, days: int
) -> None:
    from datetime import timedelta

    settings.WEBHOOK_KEEP_DAYS = days
    for content in (as_text(message_data()), "no JSON", as_text(message_data(1))):
        deliver(client, content)
    old = WebhookDelivery.objects.order_by("pk")[:2]
    for delivery in old:
        delivery.received_at -= timedelta(days=31)
        delivery.save()
    assert deliveries.prune() == (1 if days else 0)
    assert WebhookDelivery.objects.count() == (2 if days else 3)
    assert Message.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL has no lock on the whole database")
def test_waiting_for_another_writer_leaves_no_cursor_to_the_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    # Collected by a thread that writes, such a cursor would wait for its own connection, which waits for the writer.
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.3)
    other = sqlite3.connect(connection.settings_dict["NAME"])
    other.execute("BEGIN IMMEDIATE")
    gc.collect()
    gc.disable()
    try:
        before = sum(issubclass(type(each), sqlite3.Cursor) for each in gc.get_objects())
        with pytest.raises(OperationalError), rows.writing():
            pass
        left = sum(issubclass(type(each), sqlite3.Cursor) for each in gc.get_objects()) - before
    finally:
        gc.enable()
        other.close()
    # The last error itself, which was raised, may still have its own.
    assert left <= 2
