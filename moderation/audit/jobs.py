"""Jobs: the whole log read by a worker, because a person asked for it in Django admin."""

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

# Seconds between two notes of how far a job is.
SECONDS_BETWEEN_NOTES = 1.0
# Set when the worker is to end: reading a long log to its end would keep it for minutes.
stopping = threading.Event()


def request_job(kind: AuditJob.Kind, **fields: str) -> AuditJob:
    """Have a worker do a job for whoever's request is being answered."""
    from moderation.audit.tasks import work as task

    with transaction.atomic():
        job = AuditJob.objects.create(kind=kind, actor=current_actor(), origin=request_origin(), **fields)
        task.enqueue(str(job.pk))
    return job


def under_way() -> AuditJob | None:
    """The verification that waits or is being made, if any."""
    last = AuditJob.objects.filter(kind=AuditJob.Kind.VERIFICATION).order_by("-created_at").first()
    return last if last and last.is_live else None


def work(pk: UUID) -> None:
    """Do a job that waits; what another worker has begun is left to it."""
    waiting = AuditJob.objects.filter(pk=pk, state=AuditJob.State.WAITING)
    if not waiting.update(state=AuditJob.State.RUNNING, seen_at=timezone.now()):
        return
    job = AuditJob.objects.get(pk=pk)
    try:
        problem = verify(job) if job.kind == AuditJob.Kind.VERIFICATION else write(job)
    except Interrupted as interruption:
        note(job, state=AuditJob.State.FAILED, problem=type(interruption).__name__)
    except Exception as failure:
        log.exception("%s failed", job)
        # Its text may hold paths and statements: the log has those.
        note(job, state=AuditJob.State.FAILED, problem=type(failure).__name__)
    else:
        note(job, state=AuditJob.State.DONE, problem=problem)


def note(job: AuditJob, **fields: Any) -> None:
    """Note how the job stands."""
    AuditJob.objects.filter(pk=job.pk).update(seen_at=timezone.now(), **fields)


class Interrupted(Exception):  # noqa: N818 - a person reads this name
    """The worker is to end before the job is done."""


class Progress:
    """Notes how far a job is, now and then. Raises Interrupted when the worker is to end."""

    def __init__(self, job: AuditJob) -> None:
        self._job, self._noted_at = job, 0.0

    def __call__(self, seq: int, last: int) -> None:
        if stopping.is_set():
            raise Interrupted
        if seq == last or time.monotonic() - self._noted_at > SECONDS_BETWEEN_NOTES:
            self._noted_at = time.monotonic()
            note(self._job, done=seq, total=last)


def verify(job: AuditJob) -> str:
    """What is wrong with the log, a sentence, or with the key, an `AuditAlarm.Problem`; empty: nothing. Recorded."""
    findings = verification.verify_log([], Progress(job))
    record(LogVerified(actor=job.actor, origin=job.origin, job=job.pk, checkpoints=0, **findings))
    return str(findings["problem"] or findings.get("key_problem", ""))


def write(job: AuditJob) -> str:
    """Write the export to its file, all of it or nothing; that it is made is recorded before."""
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
    """Delete files and jobs of a day ago: files of this machine, whatever made them."""
    long_ago = timezone.now() - AuditJob.KEPT
    with suppress(FileNotFoundError):
        for path in Path(settings.AUDIT_EXPORT_DIR).iterdir():
            if path.stat().st_mtime < long_ago.timestamp():
                path.unlink(missing_ok=True)
    AuditJob.objects.filter(created_at__lt=long_ago).delete()
