"""`manage.py worker`: background work. Any number of them may run against one database."""

from __future__ import annotations

import itertools
import logging
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError, connection
from django_tasks_db.management.commands.db_worker import Worker

from moderation import registry
from moderation.audit import jobs
from moderation.audit.ledger.chain import Sealer
from moderation.operations.readiness import migrations_problem
from moderation.outbox.sender import worker_name
from moderation.outbox.threads import stopping
from moderation.registry import Loop

log = logging.getLogger(__name__)


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

        parser.add_argument(
            "--applications",
            type=int,
            default=3,
            help="how many applications' recalls are sent side by side (default: 3)",
        )

    def handle(self, *, interval: float, applications: int, **options: Any) -> None:
        # With an encoding that cannot be used, its first connection ends it with a sentence.
        if problem := problem_of_the_database():
            raise CommandError(problem)
        name = worker_name()
        loops = [queue_worker(f"{name}-{number}", interval) for number in range(max(1, applications))]

        def end(signum: int, frame: FrameType | None) -> None:
            if stopping.is_set():
                # Told twice: what is under way is found open and called unknown.
                sys.exit(1)
            log.info("worker %s: what is under way is finished, then it ends", name)
            stopping.set()
            jobs.stopping.set()
            for loop in loops:
                loop.running = False

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        for together in registry.threads():
            threading.Thread(target=run_loops, args=(together, name), daemon=True).start()
        threads = [threading.Thread(target=run, args=(loop,)) for loop in loops]
        for thread in threads:
            thread.start()
        log.info("worker %s started", name)
        for thread in threads:
            # In steps: a signal is only handled between them.
            while thread.is_alive():
                thread.join(0.2)
        try:
            # What the last calls recorded does not wait for the next worker.
            Sealer.near_the_end().seal()
        except (OperationalError, InterfaceError):
            log.exception("worker %s: the last entries of the audit log are not sealed yet", name)


def problem_of_the_database() -> str:
    """`migrations_problem()`, as soon as the database answers: worker and database may be started together."""
    for attempt in itertools.count():
        try:
            return migrations_problem()
        except (OperationalError, InterfaceError) as problem:
            if attempt % 60 == 0:
                log.warning("the database does not answer: %s; trying again", str(problem).partition("\n")[0])
            connection.close()
            time.sleep(1)
    return ""


def queue_worker(name: str, interval: float) -> Worker:
    """What runs queued tasks, one after the other."""
    return Worker(
        queue_names=["default"],
        interval=interval,
        batch=False,
        backend_name="default",
        startup_delay=True,
        max_tasks=None,
        worker_id=name,
        excluded_queue_names=[],
    )


def run(loop: Worker) -> None:
    """Run queued tasks until told to end."""
    while loop.running:
        try:
            loop.run()
        except (OperationalError, InterfaceError):
            # The database is away or locked for longer than its time-out: it comes back, and so do we.
            log.exception("worker %s: the database did not answer; trying again", loop.worker_id)
            connection.close()
            time.sleep(1)
    connection.close()


def run_loops(loops: Sequence[Loop], worker: str) -> None:
    """Run loops of one thread for ever, each when it is due, whatever goes wrong."""
    now = time.monotonic()
    due = {loop: now if loop.at_once else now + loop.seconds for loop in loops}
    while not stopping.wait(max(0.0, min(due.values()) - time.monotonic())):
        for loop in loops:
            if due[loop] <= time.monotonic():
                try:
                    loop.run()
                except Exception:
                    log.exception("worker %s: %s failed; trying again", worker, loop.name)
                    connection.close()
                due[loop] = time.monotonic() + loop.seconds
    connection.close()
