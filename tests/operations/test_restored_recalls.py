"""Recalls that were under way when a backup was made: after a restore nothing of them is sent by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moderation.goeasy.client import Client, Private

from .consoles import Console, databases, install, use

FIRST = 1_700_000_000_000
PAIR = {"kind": "private", "user_a": "user-a", "user_b": "user-b"}
# Each of four recalls: waiting, with one call of two being sent, stopped, and finished.
ASK = f"""
import uuid
from django.utils import timezone
from moderation.accounts.models import User
from moderation.applications.models import Application
from moderation.archive.models import Conversation
from moderation.goeasy.client import Private
from recall import services
from recall.models import *
default = Application.objects.get(slug="default")
conversation = Conversation.objects.open(default, Private("user-a", "user-b"))
recalls = [
    services.request_recall(
        conversation=conversation, actor=User.objects.get(), reason=RecallReason.objects.first(), note="",
        timestamps=range({FIRST} + 1000 * number, {FIRST} + 1000 * number + 25), recaller=None,
        submission=uuid.uuid4(), grace_seconds=0,
    )
    for number in range(4)
]
waiting, sending, stopped, finished = recalls
Recall.objects.filter(pk=sending.pk).update(state="sending")
Recall.objects.filter(pk=stopped.pk).update(state="stopped", stop_reason="unreachable")
Recall.objects.filter(pk=finished.pk).update(state="finished")
finished.batches.update(state="accepted")
sending.batches.filter(index=0).update(state="sending", claimed_by="w", lease_until=timezone.now(), attempt_count=1)
RecallAttempt.objects.create(batch=sending.batches.get(index=0), number=1, started_at=timezone.now())
"""
LOOK = """
import json
from recall.models import Recall
print(json.dumps([
    [
        recall.state, recall.stop_reason,
        [[batch.state, batch.settlement, batch.check_at is None] for batch in recall.batches.order_by("index")],
        [attempt.outcome for batch in recall.batches.order_by("index") for attempt in batch.attempts.all()],
    ]
    for recall in Recall.objects.order_by("created_at")
]))
"""
RETRY = """
from moderation.accounts.models import User
from recall import services
from recall.models import Recall
print(services.retry_recall(Recall.objects.order_by("created_at")[0], User.objects.get()))
"""
UNKNOWN, GONE, VISIBLE = (["unknown", settlement, settlement != ""] for settlement in ("", "gone", "visible"))


def run(console: Console, script: str) -> str:
    done = console.manage("shell", "-v", "0", "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout


def look(console: Console) -> list[list[Any]]:
    """State, stop reason, batches (state, settlement, whether history is not read any more) and outcomes of each."""
    found: list[list[Any]] = json.loads(run(console, LOOK))
    return found


def work(console: Console, until: Callable[[list[list[Any]]], bool], seconds: float = 60) -> None:
    """Have a worker work until what `look()` finds is as it should be."""
    with console.start("worker") as worker:
        try:
            deadline = time.monotonic() + seconds
            while not until(look(console)):
                assert time.monotonic() < deadline, look(console)
                time.sleep(0.5)
        finally:
            worker.terminate()


def test_what_was_under_way_is_not_sent_again_after_a_restore(tmp_path: Path, sandbox: Any) -> None:
    stamps = [FIRST + 1000 * number + each for number in range(4) for each in range(25)]
    messages = [{"timestamp": at, "senderId": "user-a", "type": "text", "payload": {"text": "x"}} for at in stamps]
    sandbox.add_messages(PAIR, messages)
    settings = {"GOEASY_APPKEY": sandbox.appkey, "GOEASY_REST_HOST": sandbox.url, "GOEASY_ALLOWED_HOSTS": "127.0.0.1"}
    with databases(2) as (first, second):
        old = install(tmp_path / "old", first, **settings, RECALL_VERIFY_AFTER="0")
        use(old)
        run(old, ASK)
        done = old.manage("backup", str(tmp_path / "console.backup"))
        assert done.returncode == 0, done.stderr
        # Since then the first call of the one that waited was sent.
        with Client(appkey=sandbox.appkey, rest_host=sandbox.url) as client:
            client.recall(target=Private("user-a", "user-b"), timestamps=stamps[:20])
        assert len(sandbox.calls("recall")) == 1

        new = install(tmp_path / "new", second, **{**old.settings, "DATABASE_URL": second})
        done = new.manage("restore", str(tmp_path / "console.backup"), "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["recalls_stopped"] == 3
        waiting, sending, stopped, finished = look(new)
        assert waiting == ["stopped", "restored", [UNKNOWN, UNKNOWN], []]
        assert sending == ["stopped", "restored", [UNKNOWN, UNKNOWN], ["unknown"]]
        assert stopped == ["stopped", "restored", [UNKNOWN, UNKNOWN], []]
        assert finished == ["finished", "", [["accepted", "", True]] * 2, []]
        log = [json.loads(line) for line in new.manage("export_audit").stdout.splitlines()]
        told = [entry for entry in log if entry["action"] == "recall.stopped"]
        assert [(entry["detail"]["was"], len(entry["timestamps"])) for entry in told] == [
            ("waiting", 25),
            ("sending", 25),
            ("stopped", 25),
        ]
        (lost,) = (entry for entry in log if entry["action"] == "recall.unanswered")
        assert (lost["detail"]["problem"], len(lost["timestamps"])) == ("restored", 20)

        # A worker sends nothing; it reads history.
        work(new, lambda found: all(is_read for *_, batches, _attempts in found for *_, is_read in batches))
        assert len(sandbox.calls("recall")) == 1
        seen = look(new)
        assert seen[0] == ["stopped", "restored", [GONE, VISIBLE], []]
        assert seen[1][2] == seen[2][2] == [VISIBLE, VISIBLE]
        # A person has what is still there sent, and that alone.
        assert run(new, RETRY).strip() == "1"
        work(new, lambda found: found[0][0] == "finished")
        assert [call["body"]["messages"] for call in sandbox.calls("recall")] == [stamps[:20], stamps[20:25]]
