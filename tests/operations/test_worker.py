"""`manage.py worker`: sends queued calls, resolves what a killed worker left open, and stops on request."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from moderation.audit.models import Action, AuditCheckpoint, AuditSeal
from moderation.audit.verifier import Checkpoint
from moderation.operations import housekeeping
from moderation.operations.models import Heartbeat
from moderation.outbox import tasks
from moderation.outbox.models import Call
from moderation.search import index, query
from moderation.search.models import SearchProgress, SearchText
from recall import services
from recall.models import Recall, RecallBatch
from tests.audit.entries import record
from tests.outbox.calls import lease_ran_out

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
FIRST = 1_700_000_000_000


@pytest.fixture
def request_recall(connected: Any, group: Any, moderator: Any, reason: Any) -> Callable[..., Recall]:
    """A function that requests a recall of the group's messages."""

    def request(count: int = 1, grace_seconds: float = 0) -> Recall:
        return services.request_recall(
            conversation=group,
            actor=moderator,
            reason=reason,
            note="",
            timestamps=[FIRST + number for number in range(count)],
            recaller=None,
            submission=uuid.uuid4(),
            grace_seconds=grace_seconds,
        )

    return request


def start_worker(sandbox: Any) -> subprocess.Popen[bytes]:
    """Start a worker process on the test's database."""
    database = connection.settings_dict
    name = str(database["NAME"])
    url = f"sqlite:///{name}"
    if connection.vendor == "postgresql":
        url = f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{name}"
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "GOEASY_APPKEY": sandbox.appkey,
        "GOEASY_REST_HOST": sandbox.url,
    }
    return subprocess.Popen([sys.executable, "manage.py", "worker"], cwd=ROOT, env=environment)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_worker_sends_what_is_queued_not_before_its_time_and_ends_cleanly(
    request_recall: Callable[..., Recall], sandbox: Any
) -> None:
    process = start_worker(sandbox)
    try:
        now, later = request_recall(45), request_recall(1, grace_seconds=600)
        wait_until(lambda: Recall.objects.get(pk=now.pk).state == Recall.State.FINISHED)
        assert set(now.batches.values_list("state", flat=True)) == {RecallBatch.State.ACCEPTED}
        assert len(sandbox.calls("recall")) == 3
        assert Recall.objects.get(pk=later.pk).state == Recall.State.WAITING
        assert Heartbeat.objects.count() == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0
    finally:
        process.kill()


def test_a_worker_resolves_what_a_killed_worker_left_open_by_itself(
    request_recall: Callable[..., Recall], sandbox: Any
) -> None:
    sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 60_000}])
    recall = request_recall(1)
    killed = start_worker(sandbox)
    try:
        wait_until(lambda: len(sandbox.calls("recall")) == 1)
    finally:
        killed.kill()
        killed.wait()
    assert recall.batches.get().state == RecallBatch.State.SENDING
    sandbox.clear_faults()
    lease_ran_out()
    second = start_worker(sandbox)
    try:
        wait_until(lambda: Recall.objects.get(pk=recall.pk).state == Recall.State.FINISHED)
    finally:
        second.terminate()
        second.wait(timeout=15)
    assert len(sandbox.calls("recall")) == 1, "what is unknown is not sent again"
    assert recall.batches.get().state == RecallBatch.State.UNKNOWN


def test_a_recall_whose_task_was_lost_is_queued_anew_once(request_recall: Callable[..., Recall], sandbox: Any) -> None:
    recall = request_recall(1)
    Call.objects.update(not_before=timezone.now() - timedelta(minutes=1))
    assert tasks.tidy() == 0, "its task still waits"
    # A killed worker leaves the task in the state "running".
    DBTaskResult.objects.update(status="RUNNING")
    assert tasks.tidy() == 1
    assert tasks.tidy() == 0
    process = start_worker(sandbox)
    try:
        wait_until(lambda: Recall.objects.get(pk=recall.pk).state == Recall.State.FINISHED)
    finally:
        process.terminate()
        process.wait(timeout=15)


def test_a_worker_seals_what_is_recorded_within_five_seconds_and_signs_the_log(
    sandbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIT_CHECKPOINT_FILE", str(tmp_path / "checkpoint"))
    process = start_worker(sandbox)
    try:
        wait_until(Heartbeat.objects.exists)
        for _ in range(3):
            entry = record(actor="mo", action=Action.ANSWERED)
            wait_until(AuditSeal.objects.filter(entry=entry).exists, seconds=5)
        wait_until((tmp_path / "checkpoint").exists)
        last = record(actor="mo", action=Action.ANSWERED)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0
        assert AuditSeal.objects.get(entry=last).seq == 4
        note = Checkpoint.read((tmp_path / "checkpoint").read_text(encoding="utf-8"))
        assert AuditCheckpoint.objects.get().root == note.root.hex()
    finally:
        process.kill()


def test_only_finished_tasks_are_deleted_after_a_day(request_recall: Callable[..., Recall]) -> None:
    long_ago = timezone.now() - timedelta(days=2)
    for _recall in range(3):
        request_recall(1)
    done, fresh, waiting = DBTaskResult.objects.order_by("enqueued_at")
    DBTaskResult.objects.filter(pk=done.pk).update(status="SUCCESSFUL", finished_at=long_ago)
    DBTaskResult.objects.filter(pk=fresh.pk).update(status="FAILED", finished_at=timezone.now())
    Heartbeat.objects.create(worker="gone", at=long_ago)
    Heartbeat.objects.create(worker="alive", at=timezone.now())
    housekeeping.forget()
    assert set(DBTaskResult.objects.values_list("pk", flat=True)) == {fresh.pk, waiting.pk}
    assert Heartbeat.objects.get().worker == "alive"
    assert Recall.objects.count() == 3


def test_workers_index_messages_of_older_versions(
    connected: Any, group: Any, make_message: Callable[..., Any], sandbox: Any
) -> None:
    pks = [make_message(group, FIRST + number).pk for number in range(30)]
    SearchText.objects.all().delete()
    SearchProgress.objects.update_or_create(pk=1, defaults={"done": pks[0] - 1, "older": pks[-1]})
    processes = [start_worker(sandbox), start_worker(sandbox)]
    try:
        wait_until(lambda: index.progress() is None)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=15)
    assert [pk for _timestamp, pk in query.search(query.Wanted(text="message")).keys] == pks[::-1]
