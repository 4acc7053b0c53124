"""Recalls that were in progress when a backup was made are not sent again after a restore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from moderation.goeasy.client import Client, Private

from .consoles import Console, databases, install, populate

FIRST = 1_700_000_000_000
PAIR = {"kind": "private", "user_a": "user-a", "user_b": "user-b"}
# Create four recalls: waiting, sending the first of two calls, stopped, and finished.
CREATE_RECALLS = f"""
import uuid
from django.utils import timezone
from moderation.accounts.models import User
from moderation.applications.models import Application
from moderation.archive.models import Conversation
from moderation.goeasy.client import Private
from moderation.outbox.models import Attempt, Call
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
Call.objects.filter(recall_batch__recall=stopped).hold()
Recall.objects.filter(pk=finished.pk).update(state="finished")
finished.batches.update(state="accepted")
Call.objects.filter(recall_batch__recall=finished).update(state="accepted")
sending.batches.filter(index=0).update(state="sending")
call = sending.batches.get(index=0).call
Call.objects.filter(pk=call.pk).update(state="sending", claimed_by="w", lease_until=timezone.now(), attempt_count=1)
Attempt.objects.create(call=call, number=1, started_at=timezone.now())
"""
DUMP_RECALLS = """
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
from recall import decisions
from recall.models import Recall
print(decisions.retry_recall(Recall.objects.order_by("created_at")[0], User.objects.get()))
"""
# Waits until the expression is true. One process polls, because starting one takes a second.
WAIT = """
import time
from recall.models import Recall, RecallBatch
deadline = time.monotonic() + 60
while not ({until}):
    assert time.monotonic() < deadline
    time.sleep(0.1)
"""
UNKNOWN, GONE, VISIBLE = (["unknown", settlement, settlement != ""] for settlement in ("", "gone", "visible"))


def run(console: Console, script: str) -> str:
    result = console.manage("shell", "-v", "0", "-c", script)
    assert result.returncode == 0, result.stderr
    return result.stdout


def recall_states(console: Console) -> list[list[Any]]:
    """For each recall: state, stop reason, batches (state, settlement, whether the check is finished) and outcomes."""
    states: list[list[Any]] = json.loads(run(console, DUMP_RECALLS))
    return states


def run_worker(console: Console, until: str) -> None:
    """Run a worker until the Python expression `until` is true in the console."""
    with console.start("worker") as worker:
        try:
            run(console, WAIT.format(until=until))
        finally:
            worker.terminate()


def test_a_restored_recall_in_progress_is_not_sent_again(tmp_path: Path, sandbox: Any) -> None:
    timestamps = [FIRST + 1000 * number + each for number in range(4) for each in range(25)]
    messages = [{"timestamp": at, "senderId": "user-a", "type": "text", "payload": {"text": "x"}} for at in timestamps]
    sandbox.add_messages(PAIR, messages)
    settings = {"GOEASY_APPKEY": sandbox.appkey, "GOEASY_REST_HOST": sandbox.url, "GOEASY_ALLOWED_HOSTS": "127.0.0.1"}
    with databases(2) as (first, second):
        old = install(tmp_path / "old", first, **settings, RECALL_VERIFY_AFTER="0")
        populate(old)
        run(old, CREATE_RECALLS)
        result = old.manage("backup", str(tmp_path / "console.backup"))
        assert result.returncode == 0, result.stderr
        # After the backup the first call of the waiting recall is sent.
        with Client(appkey=sandbox.appkey, rest_host=sandbox.url) as client:
            client.recall(target=Private("user-a", "user-b"), timestamps=timestamps[:20])
        assert len(sandbox.calls("recall")) == 1

        new = install(tmp_path / "new", second, **{**old.settings, "DATABASE_URL": second})
        result = new.manage("restore", str(tmp_path / "console.backup"), "--json")
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["recalls_stopped"] == 3
        waiting, sending, stopped, finished = recall_states(new)
        assert waiting == ["stopped", "restored", [UNKNOWN, UNKNOWN], []]
        assert sending == ["stopped", "restored", [UNKNOWN, UNKNOWN], ["unknown"]]
        assert stopped == ["stopped", "restored", [UNKNOWN, UNKNOWN], []]
        assert finished == ["finished", "", [["accepted", "", True]] * 2, []]
        log = [json.loads(line) for line in new.manage("export_audit").stdout.splitlines()]
        stop_entries = [entry for entry in log if entry["action"] == "recall.stopped"]
        assert [(entry["detail"]["was"], len(entry["timestamps"])) for entry in stop_entries] == [
            ("waiting", 25),
            ("sending", 25),
            ("stopped", 25),
        ]
        (lost,) = (entry for entry in log if entry["action"] == "recall.unanswered")
        assert (lost["detail"]["problem"], len(lost["timestamps"])) == ("restored", 20)

        # A worker sends nothing, but reads history.
        run_worker(new, "not RecallBatch.objects.filter(check_at__isnull=False).exists()")
        assert len(sandbox.calls("recall")) == 1
        seen = recall_states(new)
        assert seen[0] == ["stopped", "restored", [GONE, VISIBLE], []]
        assert seen[1][2] == seen[2][2] == [VISIBLE, VISIBLE]
        # A person sends again only what is still visible.
        assert run(new, RETRY).strip() == "1"
        run_worker(new, "Recall.objects.earliest('created_at').state == 'finished'")
        assert [call["body"]["messages"] for call in sandbox.calls("recall")] == [timestamps[:20], timestamps[20:25]]
