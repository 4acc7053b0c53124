"""Verifications and exports that are requested in Django admin, run by a worker, and recorded."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from moderation.audit import jobs
from moderation.audit.ledger import export, triggers, verification
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditEntry, AuditJob, AuditSeal

from .entries import record

pytestmark = pytest.mark.django_db

LIST = "/admin/audit/auditentry/"
VERIFY = reverse("admin:audit_auditentry_verify")
PREPARE = reverse("admin:audit_auditentry_prepare")
FROM = {"address": "203.0.113.7", "user_agent": "Browser/1.0", "request_id": "request-0001"}


@pytest.fixture
def reader(client: Client, auditor: Any) -> Client:
    client.defaults.update(
        {"HTTP_USER_AGENT": "Browser/1.0", "REMOTE_ADDR": "203.0.113.7", "HTTP_X_REQUEST_ID": "request-0001"}
    )
    client.force_login(auditor)
    return client


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.AUDIT_EXPORT_DIR = tmp_path / "exports"
    return tmp_path / "exports"


def write(count: int = 3, **fields: Any) -> None:
    for _number in range(count):
        record(**{"actor": "mo", "action": Action.ANSWERED, **fields})


def ask(reader: Client, address: str) -> AuditJob:
    """Submit the form. Returns the new job."""
    answer = reader.post(address)
    assert answer.status_code == 302
    job = AuditJob.objects.latest("created_at")
    assert answer["Location"] == page(job)
    return job


def page(job: AuditJob) -> str:
    return reverse("admin:audit_auditentry_job", args=[job.pk])


def download(job: AuditJob) -> str:
    return reverse("admin:audit_auditentry_download", args=[job.pk])


def work() -> None:
    """Run all queued tasks, like a worker."""
    call_command("db_worker", "--batch", "--interval", "0", "--no-startup-delay")


@pytest.mark.django_db(transaction=True)
def test_a_worker_verifies_what_an_auditor_asks_to_be_verified(reader: Client) -> None:
    write()
    assert f'action="{VERIFY}"' in reader.get(LIST).content.decode()
    job = ask(reader, VERIFY)
    waiting = reader.get(page(job)).content.decode()
    assert "waiting for a worker" in waiting
    assert f'hx-get="{page(job)}"' in waiting
    work()
    done = reader.get(page(job)).content.decode()
    assert '<span class="pill accepted">intact</span>' in done
    assert "3 of 3" in done
    assert "hx-get" not in done
    verified = AuditEntry.objects.get(action="audit.verified")
    assert verified.actor == "audrey"
    expected = {"entries": 3, "head": AuditSeal.objects.get(seq=3).hash, "problem": None, "checkpoints": 0}
    assert verified.detail == {**expected, "job": str(job.pk), "from": FROM}


@pytest.mark.django_db(transaction=True)
def test_the_verification_of_a_broken_log_names_the_problem(reader: Client) -> None:
    write()
    Sealer().seal()
    with connection.schema_editor() as editor:
        triggers.remove(None, editor)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_auditentry SET actor = 'somebody else'")
    job = ask(reader, VERIFY)
    jobs.work(job.pk)
    problem = "seq 1: its content is not what its hash was made of"
    assert AuditEntry.objects.get(action="audit.verified").detail["problem"] == problem
    for address in (page(job), LIST):
        shown = reader.get(address).content.decode()
        assert '<span class="pill refused">broken</span>' in shown
        assert problem in shown


def test_one_verification_is_under_way_at_a_time(reader: Client) -> None:
    first = ask(reader, VERIFY)
    assert ask(reader, VERIFY) == first
    assert f'href="{page(first)}"' in reader.get(LIST).content.decode()
    jobs.work(first.pk)
    assert ask(reader, VERIFY) != first


def test_a_job_of_a_dead_worker_is_shown_as_lost_and_can_be_requested_again(reader: Client) -> None:
    lost = ask(reader, VERIFY)
    AuditJob.objects.update(state="running", seen_at=timezone.now() - timedelta(seconds=61))
    shown = reader.get(page(lost)).content.decode()
    assert '<span class="pill unknown">lost</span>' in shown
    assert "hx-get" not in shown
    assert ask(reader, VERIFY) != lost


def test_a_job_in_progress_is_left_to_its_worker(reader: Client) -> None:
    job = ask(reader, VERIFY)
    AuditJob.objects.update(state="running")
    jobs.work(job.pk)
    assert not AuditEntry.objects.exists()


def test_a_verification_that_cannot_be_made_says_so_and_the_next_can(
    reader: Client, settings: Any, tmp_path: Path
) -> None:
    settings.AUDIT_CHECKPOINT_FILE = str(tmp_path)
    job = ask(reader, VERIFY)
    jobs.work(job.pk)
    shown = reader.get(page(job)).content.decode()
    assert "IsADirectoryError" in shown
    assert str(tmp_path) not in shown
    assert not AuditEntry.objects.exists()
    settings.AUDIT_CHECKPOINT_FILE = ""
    jobs.work(ask(reader, VERIFY).pk)
    assert AuditEntry.objects.get().action == "audit.verified"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_an_export_is_prepared_by_a_worker_and_downloaded(reader: Client, folder: Path, kind: str) -> None:
    write(2, response_code=401)
    write(3, response_code=200, response_content="垃圾 🎉")
    assert f"{PREPARE}?format={kind}&amp;response_code=200" in reader.get(LIST, {"response_code": 200}).content.decode()
    job = ask(reader, f"{PREPARE}?format={kind}&response_code=200")
    assert reader.get(download(job)).status_code == 404
    work()
    (file,) = folder.iterdir()
    assert file.name == f"{job.pk}.{kind}"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    shown = reader.get(page(job)).content.decode()
    assert f'href="{download(job)}"' in shown
    assert "5 of 5" in shown
    answer = reader.get(download(job))
    assert re.fullmatch(rf'attachment; filename="audit-log-\d{{8}}T\d{{6}}Z\.{kind}"', answer["Content-Disposition"])
    text = b"".join(answer).decode()  # type: ignore[call-overload]
    if kind == "csv":
        seqs = [int(row["seq"]) for row in csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))]
    else:
        seqs = [json.loads(line)["seq"] for line in text.splitlines()]
    assert seqs == [3, 4, 5]
    exported, downloaded = AuditEntry.objects.filter(action__startswith="audit.").order_by("pk")
    filters = {"response_code": ["200"]}
    about = {"job": str(job.pk), "from": FROM}
    assert exported.detail == {"format": kind, "entries_up_to": 5, "filters": filters, **about}
    assert (downloaded.actor, downloaded.action, downloaded.detail) == ("audrey", "audit.downloaded", about)


def test_an_export_in_the_background_covers_the_day_that_the_reader_saw(
    reader: Client, auditor: Any, folder: Path
) -> None:
    auditor.timezone = "Asia/Shanghai"
    auditor.save()
    # On 2 January, there are the second and the third in Shanghai, and the third and the fourth in UTC.
    for at in ("2026-01-01T15:59:59", "2026-01-01T16:00:00", "2026-01-02T15:59:59", "2026-01-02T16:00:00"):
        with time_machine.travel(datetime.fromisoformat(f"{at}+00:00"), tick=False):
            write(1)
    day = "since=2026-01-02T00:00:00&until=2026-01-03T00:00:00&conversation=&format=jsonl"
    directly = b"".join(reader.get(f"{reverse('admin:audit_auditentry_export')}?{day}")).decode()  # type: ignore[call-overload]
    job = ask(reader, f"{PREPARE}?{day}")
    timezone.deactivate()
    jobs.work(job.pk)
    assert [json.loads(line)["seq"] for line in directly.splitlines()] == [2, 3]
    assert job.file.read_text() == directly
    span = {"since": ["2026-01-01T16:00:00+00:00"], "until": ["2026-01-02T16:00:00+00:00"]}
    exports = AuditEntry.objects.filter(action="audit.exported")
    assert [each.detail["filters"] for each in exports] == [span, span]


def test_a_whole_export_satisfies_the_verifier(reader: Client, folder: Path) -> None:
    from moderation.audit import verifier

    write(5)
    job = ask(reader, f"{PREPARE}?format=jsonl")
    jobs.work(job.pk)
    verified = verifier.Chain()
    with job.file.open("rb") as file:
        for entry in verifier.read_export(file):
            verified.add(entry)
    assert verified.seq == 5


def test_an_invalid_filter_queues_no_export(reader: Client) -> None:
    for query in ("format=jsonl&since=nonsense", "format=xlsx"):
        assert reader.post(f"{PREPARE}?{query}")["Location"] == f"{LIST}?{query}"
    assert not AuditJob.objects.exists()


def test_a_head_request_for_a_download_records_nothing(reader: Client) -> None:
    job = ask(reader, f"{PREPARE}?format=jsonl")
    jobs.work(job.pk)
    answer = reader.head(download(job))
    assert (answer.status_code, answer.streaming, answer.content) == (200, False, b"")
    assert not AuditEntry.objects.filter(action="audit.downloaded").exists()


def test_a_download_that_cannot_be_recorded_is_refused(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ask(reader, f"{PREPARE}?format=jsonl")
    jobs.work(job.pk)

    def refuse(_entries: object) -> None:
        raise ValueError

    monkeypatch.setattr("moderation.audit.services.record_all", refuse)
    reader.raise_request_exception = False
    assert reader.get(download(job)).status_code == 500


def test_an_export_that_cannot_be_recorded_fails(reader: Client, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ask(reader, f"{PREPARE}?format=jsonl")

    def refuse(_entries: object) -> None:
        raise ValueError

    monkeypatch.setattr("moderation.audit.services.record_all", refuse)
    jobs.work(job.pk)
    assert not folder.exists()
    job.refresh_from_db()
    assert (job.state, job.problem) == ("failed", "ValueError")


def test_an_export_that_fails_half_way_leaves_no_file(
    reader: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()
    job = ask(reader, f"{PREPARE}?format=jsonl")
    monkeypatch.setattr(jobs, "PROGRESS_SECONDS", 0)
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 1)
    save_progress = jobs.save_progress

    def fail_at_two(job: AuditJob, **fields: Any) -> None:
        if fields.get("done") == 2:
            raise OSError(28, "No space left on device")
        save_progress(job, **fields)

    monkeypatch.setattr(jobs, "save_progress", fail_at_two)
    jobs.work(job.pk)
    assert list(folder.iterdir()) == []
    shown = reader.get(page(job)).content.decode()
    assert "OSError" in shown
    assert reader.get(download(job)).status_code == 404


def test_progress_is_saved_at_intervals_only(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    write(50)
    job = ask(reader, VERIFY)
    saved = []
    monkeypatch.setattr(jobs, "save_progress", lambda _job, **fields: saved.append(fields))
    verification.verify_log([], jobs.Progress(job))
    assert saved == [{"done": 1, "total": 50}, {"done": 50, "total": 50}]


def test_files_and_jobs_are_deleted_after_a_day_and_not_before(reader: Client, folder: Path) -> None:
    job = ask(reader, f"{PREPARE}?format=jsonl")
    jobs.work(job.pk)
    left_over = folder / f".{uuid4()}.jsonl.x7"
    left_over.write_text("half")
    jobs.delete_old()
    assert job.file.exists()
    assert left_over.exists()
    yesterday = time.time() - 24 * 3600 - 1
    for path in folder.iterdir():
        os.utime(path, (yesterday, yesterday))
    AuditJob.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    # Even before the worker deletes it.
    assert reader.get(download(job)).status_code == 404
    jobs.delete_old()
    assert list(folder.iterdir()) == []
    assert not AuditJob.objects.exists()


def test_a_file_on_another_machine_is_not_offered(reader: Client) -> None:
    job = ask(reader, f"{PREPARE}?format=jsonl")
    jobs.work(job.pk)
    job.file.unlink()
    shown = reader.get(page(job)).content.decode()
    assert "not on this machine" in shown
    assert download(job) not in shown


def test_only_the_part_that_changes_is_fetched_again(reader: Client) -> None:
    job = ask(reader, VERIFY)
    part = reader.get(page(job), headers={"HX-Request": "true"}).content.decode()
    assert 'id="job"' in part
    assert "<html" not in part


@pytest.mark.parametrize("role", ["moderator", "lead"])
def test_other_roles_can_neither_verify_nor_export(client: Client, make_user: Callable[..., Any], role: str) -> None:
    job = AuditJob.objects.create(kind="export", state="done", format="jsonl", actor="audrey")
    job.file.parent.mkdir()
    job.file.write_text("{}")
    client.force_login(make_user("somebody", role))
    answers = [client.post(VERIFY), client.post(PREPARE), client.get(page(job)), client.get(download(job))]
    assert {answer.status_code for answer in answers} <= {302, 403}
    assert not any("jobs" in answer.get("Location", "").partition("?")[0] for answer in answers)
    assert AuditJob.objects.count() == 1


def test_an_export_reports_progress_where_nothing_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 1)
    monkeypatch.setattr(export, "MAX_WIDTH", 2)
    write(5)
    Sealer().seal()
    notes: list[tuple[int, int]] = []
    nobody = AuditEntry.objects.filter(actor="nobody")
    about: Any = {"actor": "mo", "filters": {}, "progress": lambda seq, last: notes.append((seq, last))}
    assert list(export.lines("jsonl", nobody, **about)) == []
    assert notes == [(1, 5), (3, 5), (5, 5)]


def test_a_stopping_worker_fails_the_job_with_a_reason(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    write()
    job = ask(reader, VERIFY)
    monkeypatch.setattr(jobs.stopping, "is_set", lambda: True)
    jobs.work(job.pk)
    job.refresh_from_db()
    assert (job.state, job.problem) == (AuditJob.State.FAILED, "Interrupted")
    page = reader.get(reverse("admin:audit_auditentry_job", args=[job.pk])).content.decode()
    assert "The worker ended before this was done. Start it again." in page
