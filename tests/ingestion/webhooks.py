"""A sender that behaves like GoEasy's webhook, what it sends, and a gunicorn that it sends to."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection

from moderation.goeasy.signing import sign
from tests.console import free_port

ROOT = Path(__file__).resolve().parents[2]
SECRET = "0123456789abcdef"
PATH = "/webhooks/goeasy/default/"
ACKNOWLEDGEMENT = b'{"code":200,"content":"success"}'
AT = 1_700_000_000_000
# GoEasy's number of attempts and its time-out (seconds).
TRIES, TIMEOUT = 3, 3.0
# Messages with a higher number are only sent with an invalid signature.
FORGED = 10_000_000


def database_url() -> str:
    """The test's database, for another process."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urllib.parse.urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


# The commands of docs/operations.md, "Install", with smaller numbers.
PAGES = ("moderation.wsgi", "--workers", "2", "--threads", "4", "--no-control-socket")
WEBHOOK = ("--config", "gunicorn_webhook.conf.py", "--threads", "4")


@dataclass
class Gunicorn:
    """The web processes as they are deployed, on the database at this URL."""

    database: str
    options: tuple[str, ...] = PAGES
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "gunicorn", *self.options, "--bind", f"127.0.0.1:{self.port}"),
            *("--log-level", "critical", "--graceful-timeout", "5"),
        ]
        environment = {"DATABASE_URL": self.database, "GOEASY_SECRET_KEY": SECRET, "DEBUG": "false"}
        environment["WEBHOOK_MAX_MB"] = "1"
        self.process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, start_new_session=True, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("gunicorn did not start")

    def end(self, signum: int = signal.SIGTERM) -> None:
        """Stop it; with SIGKILL its workers, too."""
        assert self.process
        if self.process.poll() is None:
            if signum == signal.SIGKILL:
                os.killpg(self.process.pid, signum)
            else:
                self.process.send_signal(signum)
        self.process.wait(timeout=20)

    # Faults during its work.

    def kill_all(self) -> None:
        """Kill all processes, as a power failure does."""
        self.end(signal.SIGKILL)
        self.start()

    def kill_one(self) -> None:
        """Kill one web process, as when memory runs out; gunicorn starts another."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if children:
            os.kill(int(children[0]), signal.SIGKILL)

    def roll(self) -> None:
        """A rolling restart: new web processes, then an end to the old ones."""
        assert self.process
        self.process.send_signal(signal.SIGHUP)


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
    """A delivery: its content, its signature, and the numbers of its messages."""

    content: bytes
    signature: str
    numbers: tuple[int, ...] = ()
    is_forged: bool = False


def signed(content: bytes, numbers: tuple[int, ...] = ()) -> Delivery:
    return Delivery(content, sign(SECRET, content), numbers)


def make_deliveries(chance: random.Random, number: int) -> list[Delivery]:
    """`number` deliveries, shuffled: 30% are repeated, 1% are signed and malformed, the others hold messages or marks.

    Messages come alone or in arrays, some of them in several deliveries; a few forgeries are among them, which do not
    count.
    """
    genuine: list[Delivery] = []
    malformed, repeated, last = number // 100, number * 3 // 10, 0
    malformed_forms = (b"[%d", b'{"a": %d}', b"\xff%d", b'"%d', b'[{"timestamp": 17000%d}]')
    genuine += [signed(malformed_forms[place % 5] % place) for place in range(malformed)]
    while len(genuine) < number - repeated - 1:
        size = chance.choice([1] * 12 + [2, 2, 5, 20])
        new = list(range(last + 1, last + 1 + size))
        last += size
        # What was delivered already comes along again, in another order.
        some = new + [chance.randint(1, last) for _again in range(chance.choice([0, 0, 0, 2]))]
        chance.shuffle(some)
        messages = [message(number) for number in some]
        value = messages if len(messages) > 1 or chance.random() < 0.5 else messages[0]
        genuine.append(signed(json.dumps(value, ensure_ascii=False).encode(), tuple(some)))
        genuine += [signed(json.dumps([mark(each)]).encode(), (each,)) for each in filter(is_recalled, new)]
    # One that is too large to be read in the request.
    some = list(range(1, min(last, 1_500) + 1))
    genuine.append(signed(json.dumps([message(each) for each in some], indent=4).encode(), tuple(some)))
    made = genuine + [chance.choice(genuine) for _again in range(number - len(genuine))]
    made += [forgery(chance, place) for place in range(20)]
    chance.shuffle(made)
    return made


def forgery(chance: random.Random, number: int) -> Delivery:
    """A forged delivery: a flipped bit in signature or content, or another application's key."""
    content = json.dumps([message(FORGED + number)]).encode()
    signature = sign(SECRET, content)
    match number % 4:
        case 0:
            place = chance.randrange(len(signature))
            # A header takes no control character.
            bits = [bit for bit in range(7) if (chr(ord(signature[place]) ^ 1 << bit)).isprintable()]
            flipped = chr(ord(signature[place]) ^ 1 << chance.choice(bits))
            signature = signature[:place] + flipped + signature[place + 1 :]
        case 1:
            changed = bytearray(content)
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
            content = bytes(changed)
        case 2:
            signature = sign(SECRET[:-1], content)
        case 3:
            signature = chance.choice(["", "null", signature[:-1], signature.lower(), sign(SECRET, content + b" ")])
    return Delivery(content, signature, is_forged=True)


@dataclass
class Sender:
    """GoEasy's sender: three attempts of three seconds. Records acknowledged and abandoned deliveries."""

    port: int
    acknowledged: list[Delivery] = field(default_factory=list)
    given_up: list[Delivery] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    tried_again: int = 0
    done: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, delivery: Delivery) -> None:
        is_acknowledged = False
        for number in range(1 if delivery.is_forged else TRIES):
            if number:
                time.sleep(0.2)
                self.tried_again += 1
            if is_acknowledged := self.post(delivery):
                break
        with self.lock:
            (self.acknowledged if is_acknowledged else self.given_up).append(delivery)
            self.done += 1

    def post(self, delivery: Delivery) -> bool:
        web = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        body = urllib.parse.urlencode({"content": delivery.content})
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "x-goeasy-signature": delivery.signature,
        }
        try:
            web.request("POST", PATH, body, headers)
            response = web.getresponse()
            status, answer = response.status, response.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            web.close()
        with self.lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1
        return status == 200 and answer == ACKNOWLEDGEMENT
