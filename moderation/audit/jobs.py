"""Jobs: verifications and exports of the whole log that a person requests in Django admin and a worker runs."""

import logging
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import QueryDict
from django.utils import timezone

from moderation.audit.events import LogVerified
from moderation.audit.filters import AuditFilter
from moderation.audit.ledger import export, verification
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import AuditEntry, AuditJob
from moderation.audit.request_context import current_actor, request_origin
from moderation.audit.services import record

log = logging.getLogger(__name__)

# Seconds between two updates of a job's progress.
PROGRESS_SECONDS = 1.0
# Set when the worker is to stop: reading a long log to its end would delay that by minutes.
stopping = threading.Event()


def request_job(kind: AuditJob.Kind, **fields: str) -> AuditJob:
    """Queue a job for the user of the current request."""
    from moderation.audit.tasks import work as task

    with transaction.atomic():
        job = AuditJob.objects.create(kind=kind, actor=current_actor(), origin=request_origin(), **fields)
        task.enqueue(str(job.pk))
    return job


def live_verification() -> AuditJob | None:
    """The verification that is waiting or running, if any."""
    last = AuditJob.objects.filter(kind=AuditJob.Kind.VERIFICATION).order_by("-created_at").first()
    return last if last and last.is_live else None


def work(pk: UUID) -> None:
    """Run a waiting job. One that another worker has claimed is left to it."""
    waiting = AuditJob.objects.filter(pk=pk, state=AuditJob.State.WAITING)
    if not waiting.update(state=AuditJob.State.RUNNING, seen_at=timezone.now()):
        return
    job = AuditJob.objects.get(pk=pk)
    try:
        problem = verify(job) if job.kind == AuditJob.Kind.VERIFICATION else write(job)
    except Interrupted as interruption:
        save_progress(job, state=AuditJob.State.FAILED, problem=type(interruption).__name__)
    except Exception as failure:
        log.exception("%s failed", job)
        # Show the type only: the message may contain paths and SQL, and is in the log.
        save_progress(job, state=AuditJob.State.FAILED, problem=type(failure).__name__)
    else:
        save_progress(job, state=AuditJob.State.DONE, problem=problem)


def save_progress(job: AuditJob, **fields: Any) -> None:
    """Save fields of the job, and that the worker is alive."""
    AuditJob.objects.filter(pk=job.pk).update(seen_at=timezone.now(), **fields)


class Interrupted(Exception):  # noqa: N818 - a person reads this name
    """The worker was asked to stop before the job was done."""


class Progress:
    """Saves a job's progress at intervals. Raises Interrupted when the worker is to stop."""

    def __init__(self, job: AuditJob) -> None:
        self._job, self._saved_at = job, 0.0

    def __call__(self, seq: int, last: int) -> None:
        if stopping.is_set():
            raise Interrupted
        if seq == last or time.monotonic() - self._saved_at > PROGRESS_SECONDS:
            self._saved_at = time.monotonic()
            save_progress(self._job, done=seq, total=last)


def verify(job: AuditJob) -> str:
    """Verify the log and record the result. Returns the problem: a message, an `AuditAlarm.Problem`, or ""."""
    findings = verification.verify_log([], Progress(job))
    record(LogVerified(actor=job.actor, origin=job.origin, job=job.pk, checkpoints=0, **findings))
    return str(findings["problem"] or findings.get("key_problem", ""))


def write(job: AuditJob) -> str:
    """Record the export, then write its file, completely or not at all."""
    form = AuditFilter(QueryDict(job.query))
    if not form.is_valid():
        raise ValueError(f"{job}: its filters are no longer understood")
    Sealer().seal()
    narrowed: Any = form.narrow(AuditEntry.objects.all())
    lines = export.lines(job.format, narrowed, actor=job.actor, filters=form.given(), job=job, progress=Progress(job))
    job.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    export.write_file(job.file, export.with_mark(job.format, lines))
    return ""


def delete_old() -> None:
    """Delete jobs past their retention, and all files of that age in this machine's export folder."""
    expired = timezone.now() - AuditJob.RETENTION
    with suppress(FileNotFoundError):
        for path in Path(settings.AUDIT_EXPORT_DIR).iterdir():
            if path.stat().st_mtime < expired.timestamp():
                path.unlink(missing_ok=True)
    AuditJob.objects.filter(created_at__lt=expired).delete()
