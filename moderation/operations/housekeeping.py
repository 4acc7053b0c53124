"""Signs of life, and forgetting what is done."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from moderation.operations.models import Heartbeat
from moderation.outbox.sender import worker_name

# How old finished tasks of the queue are when they are deleted: the rows of recalls tell what was done.
TASKS_KEPT = timedelta(days=1)


def give_sign() -> None:
    """Say that this worker lives."""
    Heartbeat.objects.update_or_create(worker=worker_name(), defaults={"at": timezone.now()})


def forget() -> None:
    """Delete tasks that are done, and workers that are long gone."""
    long_ago = timezone.now() - TASKS_KEPT
    DBTaskResult.objects.finished().filter(finished_at__lt=long_ago).delete()
    Heartbeat.objects.filter(at__lt=long_ago).delete()
