"""`manage.py worker`: background work. Any number of them may run against one database."""

from __future__ import annotations

import logging
import signal
import threading
import time
from argparse import ArgumentParser
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand
from django.db import OperationalError, connection
from django.utils import timezone
from django_tasks_db.management.commands.db_worker import Worker
from django_tasks_db.models import DBTaskResult

from recall import engine, services
from recall.models import Heartbeat, Recall
from recall.tasks import send

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 5.0


class Command(BaseCommand):
    """Runs queued tasks, and looks for recalls and attempts that a dead worker left behind."""

    help = "Send recalls and do other background work. Any number of workers may run. Ends cleanly on SIGTERM."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--interval",
            type=float,
            default=0.25,
            help="seconds between looks at an empty queue (default: 0.25)",
        )

    def handle(self, *, interval: float, **options: Any) -> None:
        name = engine.worker_name()
        worker = Worker(
            queue_names=["default"],
            interval=interval,
            batch=False,
            backend_name="default",
            startup_delay=False,
            max_tasks=None,
            worker_id=name,
            excluded_queue_names=[],
        )

        def end(signum: int, frame: FrameType | None) -> None:
            engine.stopping.set()
            worker.shutdown(signum, frame)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        threading.Thread(target=keep_house, args=(name,), daemon=True).start()
        log.info("worker %s started", name)
        while worker.running:
            try:
                worker.run()
            except OperationalError:
                # The database is away or locked for longer than its time-out: it comes back, and so do we.
                log.exception("worker %s: the database did not answer; trying again", name)
                connection.close()
                time.sleep(1)


def keep_house(name: str) -> None:
    """Every few seconds for ever: a sign of life, and `tidy()`."""
    while True:
        try:
            Heartbeat.objects.update_or_create(worker=name, defaults={"at": timezone.now()})
            tidy()
        except Exception:
            log.exception("worker %s: housekeeping failed; trying again", name)
            connection.close()
        time.sleep(HOUSEKEEPING_SECONDS)


def tidy() -> int:
    """Call unknown what a dead worker left open, and queue anew what nobody is about to send; returns how many.

    A task is lost with the worker that ran it: django-tasks-db leaves it running for ever.
    """
    engine.recover_orphans()
    lost = [recall for recall in engine.due_recalls() if not is_queued(recall)]
    for recall in lost:
        services.wake(recall)
    return len(lost)


def is_queued(recall: Recall) -> bool:
    """Whether a task that sends the recall waits for a worker."""
    arguments = {"args": [str(recall.pk)], "kwargs": {}}
    return DBTaskResult.objects.ready().filter(task_path=send.module_path, args_kwargs=arguments).exists()
