"""Webhook: storing deliveries compared with the bare driver writing the same rows, and deliveries per second over HTTP.

The bare loop commits the same rows (a delivery, its messages, what makes them searchable, their conversation's latest
time) at the same level of sync, and checks, parses and reads nothing. Over HTTP: the webhook's gunicorn of two
processes, and senders that keep their connections. Run it with DATABASE_URL of either engine (default: a new SQLite
file); of PostgreSQL, an empty database.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
import uuid
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SECRET = "0123456789abcdef"
FIRST = 1_700_000_000_000
CONVERSATIONS = 200
# How many deliveries of how many messages are kept one after the other, and how often that is measured.
SIZES = {1: 400, 100: 20}
ROUNDS = 5
HTTP_DELIVERIES, SENDERS, WORKERS, THREADS = 8_000, 24, 2, 16


def prepare(folder: str) -> None:
    """Set up Django and migrate the database."""
    os.environ.setdefault("DATABASE_URL", f"sqlite:///{folder}/bench.sqlite3")
    os.environ |= {
        "SECRET_KEY": "benchmark-" * 6,
        "DEBUG": "false",
        "HTTPS": "false",
        "DJANGO_SETTINGS_MODULE": "moderation.settings",
        "GOEASY_APPKEY": "BC-0123456789abcdef",
        "GOEASY_SECRET_KEY": SECRET,
    }
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)


def contents(deliveries: int, size: int) -> list[bytes]:
    """New deliveries of `size` messages of one conversation each, in GoEasy's format."""
    made, now = [], time.time_ns() // 1_000_000
    for delivery in range(deliveries):
        messages = [
            {
                "type": "text",
                "messageId": uuid.uuid4().hex,
                "timestamp": now + delivery * size + number,
                "senderId": f"user-{delivery % CONVERSATIONS}",
                "senderData": {"name": f"用户 {delivery % CONVERSATIONS}", "avatar": "/static/images/Avatar-2.png"},
                "groupId": f"bench-{delivery % CONVERSATIONS}",
                "payload": {"text": f"消息 {delivery}-{number}: a message of an ordinary length, in two languages."},
            }
            for number in range(size)
        ]
        made.append(json.dumps(messages, ensure_ascii=False, separators=(",", ":")).encode())
    return made


def durable(made: list[bytes]) -> float:
    """Seconds the console takes to store the deliveries."""
    from moderation.applications.models import Application
    from moderation.ingestion.deliveries import accept

    application = Application.objects.get(slug="default")
    started = time.perf_counter()
    for content in made:
        accept(application, content)
    return time.perf_counter() - started


def bare(made: list[bytes]) -> float:
    """Seconds the bare driver takes to write the same rows as the console."""
    from django.db import connection

    from moderation.applications.models import Application
    from moderation.archive.models import Conversation, Message
    from moderation.search.grams import grams_of, words_of
    from moderation.search.index import MESSAGES as GRAMS
    from moderation.search.index import TABLE
    from moderation.search.normalise import VERSION, normalise

    application = Application.objects.get(slug="default")
    # Beyond the keys that the database assigns.
    ids = count(max(10**12, Message.objects.latest("pk").pk) + 1)
    is_sqlite = connection.vendor == "sqlite"
    conversations = {
        each.group_id: each.pk for each in Conversation.objects.filter(application=application, kind="group")
    }
    rows = []
    for content in made:
        messages = json.loads(content)
        pk = conversations[messages[0]["groupId"]]
        message_rows = [
            (
                *(next(ids), pk, each["timestamp"], each["messageId"], each["senderId"], each["type"]),
                *(raw := json.dumps(each, ensure_ascii=False), hashlib.sha256(raw.encode()).hexdigest()),
                *("0" * 64, False, "", "2026-01-01 00:00:00+00:00"),
            )
            for each in messages
        ]
        delivery = (application.pk, "2026-01-01 00:00:00+00:00", content, hashlib.sha256(content).hexdigest(), "done")
        compared = [normalise(each["payload"]["text"]) for each in messages]
        texts = [(row[0], text, words_of(text), VERSION) for row, text in zip(message_rows, compared, strict=True)]
        grams = [(row[0], " ".join(grams_of(row[2]))) for row in texts] if is_sqlite else []
        rows.append((delivery, message_rows, texts, grams, (messages[-1]["timestamp"], pk)))
    connection.ensure_connection()
    driver: Any = connection.connection
    sign = "?" if is_sqlite else "%s"
    insert_delivery = (
        "INSERT INTO ingestion_webhookdelivery (application_id, received_at, content, sha256, state, problem, detail, "
        f"form, tries) VALUES ({', '.join([sign] * 5)}, '', '', 'form', 0)"
    )
    insert_message = (
        "INSERT INTO archive_message (id, conversation_id, timestamp, message_id, sender_id, type, raw, sha256, "
        f"payload_sha256, recalled, recalled_raw, seen_at) VALUES ({', '.join([sign] * 12)})"
    )
    insert_text = f"INSERT INTO {TABLE} (message_id, text, words, rules) VALUES ({', '.join([sign] * 4)})"  # noqa: S608
    insert_grams = f"INSERT INTO {GRAMS} (rowid, grams) VALUES ({sign}, {sign})"  # noqa: S608 - no value
    update = f"UPDATE archive_conversation SET last_timestamp = {sign} WHERE id = {sign}"
    cursor = driver.cursor()
    started = time.perf_counter()
    for delivery, message_rows, texts, grams, latest in rows:
        cursor.execute("BEGIN IMMEDIATE" if is_sqlite else "BEGIN")
        cursor.execute(insert_delivery, delivery)
        cursor.executemany(insert_message, message_rows)
        cursor.executemany(insert_text, texts)
        cursor.executemany(insert_grams, grams)
        cursor.execute(update, latest)
        cursor.execute("COMMIT")
    seconds = time.perf_counter() - started
    cursor.close()
    return seconds


def free_port() -> int:
    """A free local port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request(content: bytes, port: int) -> bytes:
    """A signed delivery as a raw HTTP request."""
    from moderation.goeasy.signing import sign

    body = urllib.parse.urlencode({"content": content}).encode()
    head = (
        f"POST /webhooks/goeasy/default/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        f"x-goeasy-signature: {sign(SECRET, content)}\r\n\r\n"
    )
    return head.encode() + body


def send(requests: list[bytes], port: int, times: list[float]) -> None:
    """Send them one after the other over one connection; seconds for each go into `times`."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for each in requests:
            started = time.perf_counter()
            wire.sendall(each)
            answer = b""
            while not answer.endswith(b'{"code":200,"content":"success"}'):
                if not (part := wire.recv(4096)):
                    raise ConnectionError(f"no acknowledgement: {answer!r}")
                answer += part
            times.append(time.perf_counter() - started)


def over_http() -> None:
    """Print deliveries a second and how long they took."""
    from django.db import connection

    from moderation.ingestion.models import WebhookDelivery

    connection.close()
    port = free_port()
    command = [
        *(sys.executable, "-m", "gunicorn", "--config", "gunicorn_webhook.conf.py", "--bind", f"127.0.0.1:{port}"),
        *("--workers", str(WORKERS), "--threads", str(THREADS), "--log-level", "error"),
    ]
    web = subprocess.Popen(command, cwd=ROOT)
    try:
        for _try in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
                break
            except OSError:
                time.sleep(0.1)
        requests = [request(content, port) for content in contents(HTTP_DELIVERIES + 400, 1)]
        # Warm up connections and caches.
        send(requests[:400], port, [])
        before = WebhookDelivery.objects.count()
        times: list[float] = []
        threads = [
            threading.Thread(target=send, args=(requests[400 + number :: SENDERS], port, times))
            for number in range(SENDERS)
        ]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
        assert len(times) == HTTP_DELIVERIES == WebhookDelivery.objects.count() - before
    finally:
        web.terminate()
        web.wait(timeout=30)
    times.sort()
    shown = ", ".join(f"p{share:g} {times[int(len(times) * share / 100)] * 1000:.0f} ms" for share in (50, 99, 99.9))
    print(f"  over HTTP, {SENDERS} senders: {HTTP_DELIVERIES / seconds:.0f} deliveries/s (goal 800 or more); {shown}")
    print("  (goal for p99.9: 300 ms or less)")


def main() -> None:
    """Print the ratios and the rates."""
    from django.db import connection

    print(f"Webhook on {connection.vendor}:")
    durable(contents(CONVERSATIONS, 1))
    for size, deliveries in SIZES.items():
        rounds = [(durable(contents(deliveries, size)), bare(contents(deliveries, size))) for _round in range(ROUNDS)]
        kept, written = (sorted(times)[ROUNDS // 2] for times in zip(*rounds, strict=True))
        goal = 0.35 if size == 1 else 0.20
        print(
            f"  {size} a delivery: {deliveries / kept:.0f} deliveries/s kept, {deliveries / written:.0f} by the bare "
            f"driver: ratio {written / kept:.2f} (goal {goal:.2f} or more)"
        )
    over_http()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        main()
