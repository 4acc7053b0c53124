"""`manage.py worker`: background work. Any number of them may run against one database."""

from __future__ import annotations

import logging
import signal
import threading
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import OperationalError, connection
from django.utils import timezone
from django_tasks_db.management.commands.db_worker import Worker

from recall import engine
from recall.models import Heartbeat

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
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, worker.shutdown)
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
    """Call unknown what a dead worker left open, and send what nobody is sending; returns how many recalls that was.

    A recall is sent here, in this thread, when the queue has lost the task that should have woken a worker.
    """
    engine.recover_orphans()
    due = engine.due_recalls()
    for recall_id in due:
        engine.send_recall(recall_id)
    return len(due)
