"""Tasks that wake a worker. All state is in the outbox's tables; a task only wakes (docs/adr/0001)."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

try:
    from django.tasks import task
except ImportError:  # Django 5.2
    from django_tasks import task  # type: ignore[no-redef]

from moderation.applications.models import Application
from moderation.outbox import recovery, sender


@task()
def send(application_id: int) -> None:
    """Send the due calls of one application."""
    sender.send_due(Application.objects.get(pk=application_id))


def wake(application: Application, at: datetime) -> None:
    """Queue a task that sends the application's calls at `at`."""
    send.using(run_after=at).enqueue(application.pk)


def tidy() -> int:
    """Recover attempts of dead workers, and queue tasks for overdue applications; return the number of tasks.

    A task is lost with the worker that ran it: django-tasks-db leaves it in the running state.
    """
    recovery.recover_orphans()
    lost = [application for application in recovery.overdue_applications() if not is_queued(application)]
    for application in lost:
        wake(application, timezone.now())
    return len(lost)


def is_queued(application: Application) -> bool:
    """Whether a task that sends the application's calls waits for a worker now."""
    arguments = {"args": [application.pk], "kwargs": {}}
    waiting = DBTaskResult.objects.ready().filter(task_path=send.module_path, args_kwargs=arguments)
    return waiting.filter(Q(run_after__isnull=True) | Q(run_after__lte=timezone.now())).exists()
