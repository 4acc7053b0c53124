"""Shared set-up of benchmarks: a sandbox process, an empty database, workers, and an archive.

Run any of them with DATABASE_URL of either engine (default: a new SQLite file).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
CONCURRENCY = 8
FIRST = 1_700_000_000_000
KEY = "BC-0123456789abcdef"


@contextmanager
def console(latency_ms: int, **settings: str) -> Iterator[GoEasy]:
    """Start a sandbox that takes `latency_ms` for a recall, and set up Django for it on a migrated database."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", "0", "--appkey", KEY, "--data", f"{folder}/goeasy.db", "--seed", "none"]
        # In a process of its own, so that its CPU time is not counted as the sender's.
        command = [sys.executable, "-m", "moderation.goeasy.sandbox", *options]
        server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            goeasy = GoEasy(server.stdout.readline().split()[-1], latency_ms)
            goeasy.behave()
            os.environ.setdefault("DATABASE_URL", f"sqlite:///{folder}/bench.sqlite3")
            os.environ |= {
                "SECRET_KEY": "benchmark-" * 6,
                "DEBUG": "false",
                "DJANGO_SETTINGS_MODULE": "moderation.settings",
                "GOEASY_APPKEY": KEY,
                "GOEASY_REST_HOST": goeasy.url,
                "GOEASY_ALLOWED_HOSTS": "127.0.0.1",
                "GOEASY_CONCURRENCY": str(CONCURRENCY),
                "AUDIT_CHECKPOINT_FILE": "",
                **settings,
            }
            sys.path.insert(0, str(ROOT))
            import django

            django.setup()
            from django.core.management import call_command

            call_command("migrate", verbosity=0)
            yield goeasy
        finally:
            server.terminate()


class GoEasy:
    """Client of the sandbox's control API."""

    def __init__(self, url: str, latency_ms: int) -> None:
        self.url, self.latency = url, {"on": "recall", "kind": "latency", "ms": latency_ms}

    def behave(self, *faults: dict[str, Any]) -> None:
        """Set the sandbox's faults, in addition to the latency."""
        rules = {"rules": [self.latency, *faults]}
        requests.post(f"{self.url}/sandbox/faults", json=rules, timeout=5).raise_for_status()

    def forget(self) -> None:
        """Clear the recorded calls."""
        requests.delete(f"{self.url}/sandbox/calls", timeout=5).raise_for_status()

    def calls(self, endpoint: str = "recall") -> list[dict[str, Any]]:
        """The calls recorded since the last `forget()`."""
        answer = requests.get(f"{self.url}/sandbox/calls?endpoint={endpoint}", timeout=60)
        return list(answer.json()["content"])


@contextmanager
def workers(count: int) -> Iterator[list[int]]:
    """Run `count` `manage.py worker` processes and yield their ids once all are up."""
    from django.utils import timezone

    from moderation.operations.models import Heartbeat

    since = timezone.now()
    command = [sys.executable, "manage.py", "worker"]
    running = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) for _ in range(count)]
    try:
        while Heartbeat.objects.filter(at__gte=since).count() < count:
            time.sleep(0.05)
        yield [worker.pid for worker in running]
    finally:
        for worker in running:
            worker.terminate()
        for worker in running:
            worker.wait(timeout=60)


def somebody() -> Any:
    """Create a moderator."""
    from moderation.accounts.models import User

    return User.objects.create_user(f"bench-{time.time_ns()}", role="moderator")


def a_reason() -> Any:
    from recall.models import RecallReason

    return RecallReason.objects.all()[0]


def request_recall(messages: int, *, grace_seconds: float = 0) -> Any:
    """Request a recall of `messages` messages in one conversation, through the service that pages use."""
    from moderation.applications.models import Application
    from moderation.archive.models import Conversation
    from moderation.goeasy.client import Group
    from recall import services

    application = Application.objects.get(slug="default")
    return services.request_recall(
        conversation=Conversation.objects.open(application, Group(f"bench-{time.time_ns()}")),
        actor=somebody(),
        reason=a_reason(),
        note="",
        # One recall takes 5,000 timestamps at most through the form; the outbox itself has no such limit.
        timestamps=[FIRST + number for number in range(messages)],
        recaller=None,
        submission=uuid.uuid4(),
        grace_seconds=grace_seconds,
    )


def fill_archive(sender: str, conversations: int, messages: int) -> None:
    """Archive `messages` messages by `sender` in each of `conversations` groups."""
    from moderation.applications.models import Application
    from moderation.archive.ingest import ingest
    from moderation.archive.models import Conversation
    from moderation.goeasy.client import Group

    application = Application.objects.get(slug="default")
    for number in range(conversations):
        group = Conversation.objects.open(application, Group(f"{sender}-{number}"))
        ingest(group, [message(sender, FIRST + number * messages + n) for n in range(messages)])


def message(sender: str, timestamp: int) -> str:
    """A message as JSON text, as in GoEasy's history."""
    payload = {"text": f"Buy now, {timestamp}"}
    fields = {"type": "text", "messageId": uuid.uuid4().hex, "timestamp": timestamp, "senderId": sender}
    return json.dumps({**fields, "payload": payload})


def request_sweep(sender: str) -> Any:
    """Request a sweep of all messages by `sender`, through the service that pages use."""
    from moderation.applications.models import Application
    from recall import sweeps

    span: dict[str, Any] = {
        "application": Application.objects.get(slug="default"),
        "sender_id": sender,
        "since": FIRST,
        "until": FIRST + 10**9,
    }
    return sweeps.request_sweep(
        **span,
        actor=somebody(),
        reason=a_reason(),
        note="",
        recaller=None,
        submission=uuid.uuid4(),
        grace_seconds=0,
    )


def wait_until_final(recalls: Any, *, at_most: float) -> None:
    """Wait until all of `recalls` (a queryset) are final; exit with a message after `at_most` seconds."""
    from recall.models import Recall

    deadline = time.monotonic() + at_most
    while recalls.filter(state__in=[Recall.State.WAITING, Recall.State.SENDING]).exists():
        if time.monotonic() > deadline:
            sys.exit(f"not finished after {at_most:.0f} s")
        time.sleep(0.05)


def states(recalls: Any) -> dict[str, int]:
    """Number of batches of `recalls` by state."""
    from django.db.models import Count

    from recall.models import RecallBatch

    counts = RecallBatch.objects.filter(recall__in=recalls).order_by().values_list("state").annotate(Count("pk"))
    return dict(counts)


def verdict(figures: Sequence[tuple[str, float, str, float]]) -> int:
    """Print each figure (name, value, "≥" or "≤", bound) and whether it is within its bound; return the exit status."""
    missed = 0
    for name, value, sign, bound in figures:
        is_within = value >= bound if sign == "≥" else value <= bound
        missed += not is_within
        print(f"  {name}: {value:.2f} (wanted {sign} {bound:g}) {'met' if is_within else 'MISSED'}")
    return int(missed > 0)
