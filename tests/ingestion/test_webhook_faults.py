"""The webhook under a real gunicorn that is killed and restarted, with a sender that behaves like GoEasy.

In full with `make soak`, in a reduced form every time.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import Count
from django.test import Client

from moderation.archive.models import Message
from moderation.goeasy.signing import sign
from moderation.ingestion import deliveries
from moderation.ingestion.models import FeedCount, WebhookDelivery

from .webhooks import (
    ACKNOWLEDGEMENT,
    AT,
    FORGED,
    PATH,
    ROOT,
    SECRET,
    Delivery,
    Gunicorn,
    Sender,
    database_url,
    forgery,
    is_recalled,
    make_deliveries,
    mark,
    message,
    signed,
)

pytestmark = pytest.mark.django_db(transaction=True)

Trouble = Callable[[Gunicorn], None]


@pytest.fixture
def gunicorn(application: Any) -> Iterator[Gunicorn]:
    web = Gunicorn(database_url())
    web.start()
    yield web
    web.end()


def send_through(web: Gunicorn, sent: list[Delivery], troubles: list[Trouble]) -> Sender:
    """Send everything while the faults occur one after the other, evenly spread. Abandoned deliveries stay so."""
    sender = Sender(web.port)
    with ThreadPoolExecutor(4) as threads:
        everything = [threads.submit(sender.send, each) for each in sent]
        for number, trouble in enumerate(troubles, start=1):
            while sender.done < len(sent) * number // (len(troubles) + 1):
                time.sleep(0.01)
            trouble(web)
        for each in everything:
            each.result()
    return sender


def check_archive(sender: Sender, sent: list[Delivery]) -> None:
    """Check that exactly the acknowledged deliveries are stored, once and unchanged."""
    while deliveries.process_due():
        pass
    acknowledged = {hashlib.sha256(each.content).hexdigest() for each in sender.acknowledged}
    stored = dict(WebhookDelivery.objects.values_list("sha256", "state"))
    assert acknowledged - stored.keys() == set(), "acknowledged but absent"
    assert acknowledged == {hashlib.sha256(each.content).hexdigest() for each in sent if not each.is_forged}
    assert len(stored) == WebhookDelivery.objects.count() == len(acknowledged), "every delivery once"
    assert set(stored.values()) == {"done", "unread"}
    assert [each for each in sender.acknowledged if each.is_forged] == [], "wrong acknowledgements"
    assert set(sender.statuses) == {200, 401}
    numbers = {number for each in sender.acknowledged for number in each.numbers}
    times = list(Message.objects.order_by("timestamp").values_list("timestamp", flat=True))
    assert times == [AT + number for number in sorted(numbers)], "every message once, and none that was forged"
    twice = Message.objects.exclude(message_id="").values("message_id").annotate(rows=Count("pk")).filter(rows__gt=1)
    assert not twice.exists()
    for row in Message.objects.select_related("conversation").iterator():
        number = row.timestamp - AT
        assert row.data == message(number), "what was said, not the mark, whichever came first"
        assert (row.recalled, row.recaller) == ((True, {"id": "support"}) if is_recalled(number) else (False, {}))
        assert row.conversation.ids in {
            row.data.get("groupId"),
            " ↔ ".join((row.sender_id, row.data.get("receiverId", ""))),
        }


def test_through_kills_and_restarts_what_was_acknowledged_is_there_once(gunicorn: Gunicorn) -> None:
    sent = make_deliveries(random.Random(20), 500)
    troubles = [Gunicorn.kill_all, Gunicorn.roll, Gunicorn.kill_one, Gunicorn.kill_all]
    sender = send_through(gunicorn, sent, troubles)
    # A person switched the webhook on again: abandoned deliveries are sent again.
    for _round in range(20):
        again, sender.given_up = [each for each in sender.given_up if not each.is_forged], []
        for delivery in again:
            sender.send(delivery)
    gunicorn.end()
    check_archive(sender, sent)


@pytest.mark.soak
def test_through_twenty_kills_and_twenty_restarts_nothing_is_lost_refused_or_believed(gunicorn: Gunicorn) -> None:
    sent = make_deliveries(random.Random(4), 100_000)
    started = time.monotonic()
    sender = send_through(gunicorn, sent, [Gunicorn.roll, Gunicorn.kill_one] * 20)
    took = time.monotonic() - started
    given_up = [each for each in sender.given_up if not each.is_forged]
    print(
        f"\n{connection.vendor}: {len(sent):,} deliveries in {took:.0f} s ({len(sent) / took:.0f} a second) through 20 "
        f"rolling restarts and 20 kills; {sender.tried_again} tries again, {len(given_up)} refused three times"
    )
    assert given_up == [], "refused three times in a row"
    check_archive(sender, sent)
    kept, archived = WebhookDelivery.objects.count(), Message.objects.count()
    unread = WebhookDelivery.objects.filter(state="unread").count()
    print(f"  {kept:,} kept ({unread:,} unread), {archived:,} messages: all that was acknowledged, each once")

    counted = sum(FeedCount.objects.filter(what__in=["unsigned", "wrong_signature"]).values_list("number", flat=True))
    chance = random.Random(5)
    forged, started = Sender(gunicorn.port), time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        for _sent in threads.map(forged.send, (forgery(chance, 1_000 + number) for number in range(100_000))):
            pass
    print(f"  forged: {forged.statuses} in {time.monotonic() - started:.0f} s, {len(forged.acknowledged)} accepted")
    assert (forged.acknowledged, forged.statuses) == ([], {401: 100_000})
    assert (WebhookDelivery.objects.count(), Message.objects.count()) == (kept, archived)
    assert not Message.objects.filter(timestamp__gte=AT + FORGED).exists()
    refused = sum(FeedCount.objects.filter(what__in=["unsigned", "wrong_signature"]).values_list("number", flat=True))
    assert refused - counted == 100_000, "nothing kept of them but a count"


def test_many_at_once_tell_of_the_same_people_and_conversations_without_waiting_for_ever(gunicorn: Gunicorn) -> None:
    chance = random.Random(7)
    everything = [message(number) for number in range(1, 61)]
    everything += [mark(number) for number in filter(is_recalled, range(1, 61))]
    sent = [signed(json.dumps(chance.sample(everything, k=20)).encode()) for _delivery in range(60)]
    sender = Sender(gunicorn.port)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(sender.send, sent))
    assert (len(sender.acknowledged), sender.given_up) == (60, [])
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"done"}
    assert Message.objects.count() == 60
    assert {row.timestamp - AT for row in Message.objects.filter(recalled=True)} == set(
        filter(is_recalled, range(61))
    ) - {0}


def test_a_body_without_a_content_length_is_read(gunicorn: Gunicorn) -> None:
    content = json.dumps(message(1)).encode()
    web = http.client.HTTPConnection("127.0.0.1", gunicorn.port, timeout=5)
    body = urllib.parse.urlencode({"content": content}).encode()
    for parts, status in (([body[:40], body[40:]], 200), ([b"x" * 1024 * 1024] * 4, 413)):
        headers = {"x-goeasy-signature": sign(SECRET, content), "Transfer-Encoding": "chunked"}
        web.request("POST", PATH, iter(parts), headers, encode_chunked=True)
        response = web.getresponse()
        response.read()
        assert response.status == status
    web.close()
    assert Message.objects.count() == 1


def deliver(client: Client, content: bytes) -> Any:
    body = urllib.parse.urlencode({"content": content})
    headers = {"x-goeasy-signature": sign(SECRET, content)}
    return client.post(PATH, body, content_type="application/x-www-form-urlencoded", headers=headers)


def test_a_full_disk_is_no_acknowledgement_and_leaves_nothing_half_written(
    client: Client, application: Any, settings: Any
) -> None:
    settings.GOEASY_SECRET_KEYS = [SECRET]
    big = json.dumps([message(number) for number in range(1, 300)], ensure_ascii=False).encode()
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA page_count")
            full, room = f"PRAGMA max_page_count = {cursor.fetchone()[0]}", "PRAGMA max_page_count = 1073741823"
        else:
            # A disk cannot be filled here: that nothing may be written is what comes of it.
            full, room = "SET default_transaction_read_only = on", "SET default_transaction_read_only = off"
        cursor.execute(full)
        acknowledged, refused = 0, 0
        for number in range(1_000, 2_000):
            answer = deliver(client, json.dumps({**message(number), "payload": "x" * 4_000}).encode())
            acknowledged, refused = acknowledged + (answer.status_code == 200), refused + (answer.status_code == 503)
            if refused == 5:
                break
        assert refused == 5
        assert deliver(client, big).status_code == 503
        # As many as were acknowledged, and of those that were read every message.
        assert WebhookDelivery.objects.count() == acknowledged
        assert Message.objects.count() == WebhookDelivery.objects.filter(state="done").count()
        cursor.execute(room)
    assert deliver(client, big).content == ACKNOWLEDGEMENT
    WebhookDelivery.objects.filter(state="waiting").update(retry_at="2020-01-01T00:00:00Z")
    while deliveries.process_due():
        pass
    assert Message.objects.count() == acknowledged + 299


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system in memory of that size, which PostgreSQL's server may write to. Skips where none can be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="console-disk-"))
    options = f"size={megabytes}M,mode=700"
    if connection.vendor == "postgresql" and (owner := subprocess.run(["id", "-u", "postgres"], capture_output=True)):
        options += f",uid={owner.stdout.decode().strip()}"
    try:
        if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]).returncode:
            pytest.skip("only root may mount a disk to be filled")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
    finally:
        shutil.rmtree(folder)


@contextmanager
def console_on(disk: Path) -> Iterator[tuple[str, Callable[[str], int]]]:
    """A database whose deliveries and messages are on `disk`: its URL, and a function that counts a table's rows."""
    if connection.vendor == "sqlite":
        url = f"sqlite:///{disk}/console.sqlite3"
        environment = {**os.environ, "DATABASE_URL": url}
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)

        def rows(table: str) -> int:
            with closing(sqlite3.connect(disk / "console.sqlite3")) as database:
                return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

        yield url, rows
        return

    def run(statement: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None

    # What PostgreSQL writes first, its log, stays where it is: that of a test's server is not ours to fill.
    tables = ("ingestion_webhookdelivery", "archive_message", "search_searchtext")
    run(f"CREATE TABLESPACE console_small LOCATION '{disk}'")
    try:
        for table in tables:
            # Rows that an earlier test deleted still fill the table's file.
            run(f"VACUUM FULL {table}")
            run(f"ALTER TABLE {table} SET TABLESPACE console_small")
        yield database_url(), lambda table: int(run(f"SELECT count(*) FROM {table}")[0])
    finally:
        for table in tables:
            run(f"ALTER TABLE {table} SET TABLESPACE pg_default")
        run("DROP TABLESPACE console_small")


def read_what_waits(url: str) -> None:
    """Process due deliveries, as the worker does."""
    work = (
        "from moderation.ingestion import deliveries as d; from django.utils.timezone import now;"
        "d.WebhookDelivery.objects.filter(state='waiting').update(retry_at=now());"
        "any(d.process_due() == 0 for _ in range(99))"
    )
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", work]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, check=True)


@pytest.mark.soak
def test_a_disk_that_is_really_full_refuses_and_recovers_by_itself(application: Any) -> None:
    def delivery(number: int) -> Delivery:
        # Incompressible bytes.
        payload = random.Random(number).randbytes(6_000).hex()
        return signed(json.dumps({**message(number), "payload": payload}).encode(), (number,))

    with small_disk(12) as disk, console_on(disk) as (url, rows):
        web = Gunicorn(url)
        web.start()
        try:
            sender, number = Sender(web.port), 0
            while sender.statuses.get(503, 0) < 30 and number < 5_000:
                number += 1
                sender.send(delivery(number))
            accepted = len(sender.acknowledged)
            print(f"\n{connection.vendor}: disk full after {accepted} deliveries: {sender.statuses}")
            assert set(sender.statuses) == {200, 503}
            assert accepted > 50
            assert rows("ingestion_webhookdelivery") == accepted
            # Where there was room for the delivery alone, its messages are the worker's to write.
            done = rows("ingestion_webhookdelivery WHERE state = 'done'")
            assert rows("archive_message") == done > accepted - 30, "no delivery is half there"
            subprocess.run(["mount", "-o", "remount,size=64M", disk], check=True)
            again, sender.given_up = sender.given_up, []
            for each in again:
                sender.send(each)
            assert sender.given_up == []
            read_what_waits(url)
            assert rows("ingestion_webhookdelivery") == rows("archive_message") == number
            print(f"  with room again, the {len(again)} that were refused are there, and nothing was restarted")
        finally:
            web.end()
