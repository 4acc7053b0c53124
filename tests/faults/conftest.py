"""Fixtures for fault tests: a real database, a sandbox that checks it, and processes to kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from moderation.archive.models import Conversation
from moderation.goeasy.client import Group
from moderation.outbox.models import Attempt, Call, CallSlot
from moderation.outbox.recovery import recover_orphans
from moderation.outbox.sender import send_due
from recall import services
from recall.models import Recall, RecallBatch
from tests.faults.witness import Witness

ROOT = Path(__file__).resolve().parents[2]
FIRST = 1_700_000_000_000
KILLED = -9
VICTIM = "console-victim"


def database_url() -> str:
    """URL of the test database, for another process."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    where = f"{database['HOST']}:{database['PORT']}/{database['NAME']}"
    return f"postgres://{database['USER']}:{database['PASSWORD']}@{where}"


@pytest.fixture
def environment(sandbox: Any) -> dict[str, str]:
    """Settings of another process on the test's database, with the sandbox as its GoEasy."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "moderation.settings",
        "DATABASE_URL": database_url(),
        "GOEASY_APPKEY": sandbox.appkey,
        "GOEASY_REST_HOST": sandbox.url,
    }


@pytest.fixture
def witness(sandbox: Any) -> Witness:
    """Check of the database for each call that arrives at the sandbox."""
    witness = Witness()
    sandbox.on_call = witness.observe
    return witness


class Victims:
    """Runs orders in processes that may be killed (`victim.py`)."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.victim"],
            cwd=ROOT,
            # Names its connections in pg_stat_activity.
            env={**environment, "PGAPPNAME": VICTIM},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __call__(self, **order: Any) -> int:
        """Run an order; return the exit status, or KILLED."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.line())


@pytest.fixture
def victims(environment: dict[str, str]) -> Iterator[Victims]:
    running = Victims(environment)
    yield running
    running.process.kill()
    running.process.wait()


def wait_for_killed_connections() -> None:
    """Wait until PostgreSQL has closed the connections of a killed process, which it may still commit for."""
    if connection.vendor == "postgresql":
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"
        with connection.cursor() as cursor:
            cursor.execute(query, [VICTIM])
            while cursor.fetchone() != (0,):
                time.sleep(0.005)
                cursor.execute(query, [VICTIM])


class Life:
    """One recall from its request to its end, whichever process is killed."""

    def __init__(self, application: Any, calls: int) -> None:
        self.conversation = Conversation.objects.open(application, Group(f"group-{uuid.uuid4().hex[:12]}"))
        self.timestamps = [FIRST + number for number in range(20 * calls)]
        self.submission = uuid.uuid4()

    @property
    def order(self) -> dict[str, Any]:
        """Fields of an order for a victim."""
        return {
            "conversation": self.conversation.pk,
            "timestamps": self.timestamps,
            "submission": str(self.submission),
        }

    def existing_recall(self) -> Recall | None:
        return Recall.objects.filter(submission=self.submission).first()

    def request(self, moderator: Any, reason: Any) -> Recall:
        """Request the recall; a repeated request returns the same one, as a form that is sent again does."""
        return services.request_recall(
            conversation=self.conversation,
            actor=moderator,
            reason=reason,
            note="",
            timestamps=self.timestamps,
            recaller=None,
            submission=self.submission,
            grace_seconds=0,
        )

    def finish(self, recall: Recall, witness: Witness) -> None:
        """Expire the leases of a killed process and finish the recall in this one."""
        wait_for_killed_connections()
        calls = Call.objects.filter(recall_batch__recall=recall, state=Call.State.SENDING)
        attempts = Attempt.objects.filter(call__in=calls, outcome="open")
        open_attempts = list(attempts.values_list("pk", flat=True))
        past = timezone.now() - timedelta(seconds=1)
        calls.update(lease_until=past)
        CallSlot.objects.exclude(held_by="").update(held_until=past)
        recover_orphans()
        send_due(recall.application)
        recall.refresh_from_db()
        assert recall.state == Recall.State.FINISHED
        states = set(recall.batches.values_list("state", flat=True))
        assert states <= {RecallBatch.State.ACCEPTED, RecallBatch.State.UNKNOWN}
        witness.record_outcomes(recall, open_attempts)


@pytest.fixture
def live(connected: Any, reason: Any, moderator: Any) -> Callable[..., Life]:
    """A function that prepares a recall (`Life`)."""
    return lambda calls=6: Life(connected, calls)
