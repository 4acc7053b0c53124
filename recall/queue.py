"""What a worker that died left behind: attempts without an outcome, and recalls that nobody is about to send."""

from __future__ import annotations

from django_tasks_db.models import DBTaskResult

from recall import engine, services
from recall.models import Recall
from recall.outcomes import recover_orphans
from recall.tasks import send


def tidy() -> int:
    """Call unknown what a dead worker left open, and queue anew what nobody is about to send; returns how many.

    A task is lost with the worker that ran it: django-tasks-db leaves it running for ever.
    """
    recover_orphans()
    lost = [recall for recall in engine.due_recalls() if not is_queued(recall)]
    for recall in lost:
        services.wake(recall)
    return len(lost)


def is_queued(recall: Recall) -> bool:
    """Whether a task that sends the recall waits for a worker."""
    arguments = {"args": [str(recall.pk)], "kwargs": {}}
    return DBTaskResult.objects.ready().filter(task_path=send.module_path, args_kwargs=arguments).exists()
