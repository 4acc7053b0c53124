"""The webhook under a real gunicorn that is killed and restarted, with a sender that behaves like GoEasy."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import Count
from django.test import Client

from moderation.archive import deliveries
from moderation.archive.models import Message, WebhookDelivery
from moderation.goeasy.signing import sign

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
SECRET = "0123456789abcdef"
PATH = "/webhooks/goeasy/default/"
ACKNOWLEDGEMENT = b'{"code":200,"content":"success"}'
AT = 1_700_000_000_000
# As GoEasy: so many tries of so many seconds.
TRIES, TIMEOUT = 3, 3.0


@dataclass
class Gunicorn:
    """The web process as it is deployed, on the test's database."""

    port: int
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "gunicorn", "moderation.wsgi", "--bind", f"127.0.0.1:{self.port}"),
            *("--worker-class", "gthread", "--workers", "2", "--threads", "4"),
            *("--no-control-socket", "--log-level", "critical", "--graceful-timeout", "5"),
        ]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, start_new_session=True, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("gunicorn did not start")

    def end(self, signum: int) -> None:
        """End it: with SIGKILL its workers, too, wherever they are."""
        assert self.process
        if signum == signal.SIGKILL:
            os.killpg(self.process.pid, signum)
        else:
            self.process.send_signal(signum)
        self.process.wait(timeout=20)


@pytest.fixture
def gunicorn(application: Any) -> Iterator[Gunicorn]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{database['NAME']}"
    else:
        url = urllib.parse.urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database['NAME']}").geturl()
    web = Gunicorn(port, {**os.environ, "DATABASE_URL": url, "GOEASY_SECRET_KEY": SECRET, "DEBUG": "false"})
    web.start()
    yield web
    if web.process and web.process.poll() is None:
        web.end(signal.SIGTERM)


def message(number: int) -> dict[str, Any]:
    return {
        "type": "text",
        # Every seventh carries no id.
        **({"messageId": f"m-{number}"} if number % 7 else {}),
        "timestamp": AT + number,
        "senderId": f"u-{number % 5}",
        "senderData": {"name": f"第 {number % 5}"},
        **({"groupId": f"g-{number % 3}"} if number % 2 else {"receiverId": f"v-{number % 4}"}),
        "payload": {"text": f"消息 {number}"},
    }


def is_recalled(number: int) -> bool:
    """Whether a mark of its recall is delivered, too: before it, after it, or at the same time."""
    return number % 5 == 0 and number % 7 != 0


def mark(number: int) -> dict[str, Any]:
    return {**message(number), "payload": None, "recalled": True, "recaller": {"id": "support"}}


@dataclass(frozen=True)
class Delivery:
    """What is sent: its content, its signature, and the numbers of the messages in it."""

    content: bytes
    signature: str
    numbers: tuple[int, ...] = ()
    is_forged: bool = False


def make_deliveries(chance: random.Random, number_of_messages: int) -> list[Delivery]:
    """Every message in one delivery or more, alone or in arrays; signed nonsense; forgeries; all of it shuffled."""
    made = []

    def add(content: bytes, numbers: tuple[int, ...] = ()) -> None:
        made.append(Delivery(content, sign(SECRET, content), numbers))

    left = list(range(1, number_of_messages + 1))
    while left:
        some, left = left[: (size := chance.choice([1, 1, 1, 2, 5, 20]))], left[size:]
        # What was delivered already comes along again, in another order.
        some = some + chance.sample(range(1, number_of_messages + 1), k=chance.choice([0, 0, 1, 3]))
        chance.shuffle(some)
        told = [message(number) for number in some]
        value = told if len(told) > 1 or chance.random() < 0.5 else told[0]
        add(json.dumps(value, ensure_ascii=False).encode(), tuple(some))
    add(json.dumps([message(number) for number in range(1, number_of_messages + 1)], indent=4).encode(), (1, 2, 3))
    for nonsense in (b"[1", b'{"a": 1}', b"\xff", b"null", b'[{"timestamp": 1700000000000}]'):
        add(nonsense)
    for number in filter(is_recalled, range(1, number_of_messages + 1)):
        add(json.dumps([mark(number)]).encode(), (number,))
    genuine = list(made)
    made += chance.sample(genuine, k=len(genuine) // 3)
    for number in range(20):
        content = json.dumps([message(900_000 + number)]).encode()
        signature = bytearray(sign(SECRET, content).encode())
        if number % 2:
            content = content.replace(b"900", b"901")
        else:
            signature[number % 27] ^= 1
        made.append(Delivery(content, signature.decode(), is_forged=True))
    chance.shuffle(made)
    return made


@dataclass
class Sender:
    """GoEasy: three tries of three seconds. It remembers what was acknowledged, and what was answered at all."""

    url: str
    acknowledged: list[Delivery] = field(default_factory=list)
    given_up: list[Delivery] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    def send(self, delivery: Delivery) -> None:
        for _try in range(1 if delivery.is_forged else TRIES):
            if self.post(delivery):
                self.acknowledged.append(delivery)
                return
            time.sleep(0.2)
        self.given_up.append(delivery)

    def post(self, delivery: Delivery) -> bool:
        request = urllib.request.Request(
            self.url,
            urllib.parse.urlencode({"content": delivery.content}).encode(),
            {"x-goeasy-signature": delivery.signature},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                self.statuses.add(response.status)
                return bool(response.status == 200 and response.read() == ACKNOWLEDGEMENT)
        except urllib.error.HTTPError as error:
            self.statuses.add(error.code)
            error.close()
        except (OSError, http.client.HTTPException):
            pass
        return False


def test_through_kills_and_restarts_what_was_acknowledged_is_there_once(gunicorn: Gunicorn) -> None:
    chance = random.Random(20)
    sent = make_deliveries(chance, 1_500)
    sender = Sender(gunicorn.url)
    done = threading.Event()

    def work() -> None:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(sender.send, sent))
        # GoEasy was switched on again by a person: what it gave up comes once more.
        for _round in range(20):
            again, sender.given_up = [each for each in sender.given_up if not each.is_forged], []
            for delivery in again:
                sender.send(delivery)
            if not again:
                break
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    signals = [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]
    in_the_middle = 0
    for signum in signals:
        done.wait(0.6)
        in_the_middle += not done.is_set()
        gunicorn.end(signum)
        gunicorn.start()
    thread.join(timeout=120)
    assert done.is_set()
    assert in_the_middle >= 3
    gunicorn.end(signal.SIGTERM)
    while deliveries.process_due():
        pass

    acknowledged = {hashlib.sha256(each.content).hexdigest() for each in sender.acknowledged}
    stored = dict(WebhookDelivery.objects.values_list("sha256", "state"))
    assert acknowledged - stored.keys() == set(), "acknowledged but absent"
    assert acknowledged == {hashlib.sha256(each.content).hexdigest() for each in sent if not each.is_forged}
    assert set(stored.values()) == {"done", "unread"}
    assert [each for each in sender.acknowledged if each.is_forged] == [], "wrong acknowledgements"
    assert sender.statuses == {200, 401}
    numbers = {number for each in sender.acknowledged for number in each.numbers}
    times = list(Message.objects.order_by("timestamp").values_list("timestamp", flat=True))
    assert times == [AT + number for number in sorted(numbers)], "every message once, and none that was forged"
    twice = Message.objects.exclude(message_id="").values("message_id").annotate(rows=Count("pk")).filter(rows__gt=1)
    assert not twice.exists()
    for row in Message.objects.select_related("conversation"):
        number = row.timestamp - AT
        assert row.data == message(number), "what was said, not the mark, whichever came first"
        assert (row.recalled, row.recaller) == ((True, {"id": "support"}) if is_recalled(number) else (False, {}))
        assert row.conversation.ids in {
            row.data.get("groupId"),
            " ↔ ".join((row.sender_id, row.data.get("receiverId", ""))),
        }


def test_many_at_once_tell_of_the_same_people_and_conversations_without_waiting_for_ever(gunicorn: Gunicorn) -> None:
    chance = random.Random(7)
    everything = [message(number) for number in range(1, 61)]
    everything += [mark(number) for number in filter(is_recalled, range(1, 61))]
    sent = []
    for _delivery in range(60):
        content = json.dumps(chance.sample(everything, k=20)).encode()
        sent.append(Delivery(content, sign(SECRET, content)))
    sender = Sender(gunicorn.url)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(sender.send, sent))
    assert (len(sender.acknowledged), sender.given_up) == (60, [])
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"done"}
    assert Message.objects.count() == 60
    assert {row.timestamp - AT for row in Message.objects.filter(recalled=True)} == set(
        filter(is_recalled, range(61))
    ) - {0}


def test_a_body_whose_length_is_not_told_is_read(gunicorn: Gunicorn) -> None:
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
