"""`manage.py worker`: background work. Any number of them may run against one database."""

from __future__ import annotations

import itertools
import logging
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import timedelta
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, InterfaceError, OperationalError, connection
from django.utils import timezone
from django_tasks_db.management.commands.db_worker import Worker
from django_tasks_db.models import DBTaskResult

from moderation.accounts import attempts, unsent
from moderation.archive import deliveries, people, retention, search
from moderation.audit import alarms as audit_alarms
from moderation.audit import checkpoints, jobs
from moderation.audit.chain import Sealer
from moderation.audit.models import AuditAlarm
from moderation.audit.signing import SigningKeyError
from moderation.audit.verifier import BrokenError
from moderation.outbox import sender, tasks
from moderation.outbox.threads import stopping
from moderation.readiness import migrations_problem
from recall import alarms, gaps, verify
from recall.models import Heartbeat

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 5.0
CHECKING_SECONDS = 2.0
READING_SECONDS = 1.0
WATCHING_SECONDS = 30.0
SEALING_SECONDS = 1.0
SIGNING_SECONDS = 10.0
SEARCHABLE_SECONDS = 2.0
# How often finished tasks of the queue are deleted, and how old they are then: the rows of recalls tell what was done.
PRUNING_SECONDS = 3600.0
TASKS_KEPT = timedelta(days=1)


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
        name = sender.worker_name()
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
        for work in LOOPS:
            threading.Thread(target=work, args=(name,), daemon=True).start()
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


def keep_house(name: str) -> None:
    """Every few seconds for ever: a sign of life, and `tasks.tidy()`."""
    started = False
    pruned_at = -PRUNING_SECONDS
    while not stopping.wait(HOUSEKEEPING_SECONDS if started else 0):
        started = True
        try:
            Heartbeat.objects.update_or_create(worker=name, defaults={"at": timezone.now()})
            tasks.tidy()
            if time.monotonic() - pruned_at > PRUNING_SECONDS:
                pruned_at = time.monotonic()
                prune()
        except Exception:
            log.exception("worker %s: housekeeping failed; trying again", name)
            connection.close()
    connection.close()


def keep_checking(name: str) -> None:
    """Every few seconds for ever: read history for what became of recalled messages."""
    keep(verify.check_due, CHECKING_SECONDS, name)


def keep_reading(name: str) -> None:
    """Every second for ever: read what the webhook delivered and did not read itself."""
    keep(deliveries.process_due, READING_SECONDS, name)


def keep_watching(name: str) -> None:
    """Twice a minute: watch feeds and readers, and delete old deliveries, messages and attempts."""
    pruned_up_to = 0

    def work() -> None:
        nonlocal pruned_up_to
        alarms.watch()
        deliveries.prune()
        attempts.prune(timezone.now())
        unsent.prune()
        pruned_up_to = retention.prune(pruned_up_to)

    keep(work, WATCHING_SECONDS, name)


def keep_comparing(name: str) -> None:
    """Twice a minute for ever: fill the feeds' gaps. Apart from watching: a slow GoEasy must not keep an alarm back."""
    keep(gaps.compare_due, WATCHING_SECONDS, name)


def keep_searchable(name: str) -> None:
    """Every few seconds: index new names, and messages that are not indexed by today's rules."""

    def work() -> None:
        people.index_names()
        search.add_older()

    keep(work, SEARCHABLE_SECONDS, name)


def keep(work: Callable[[], object], seconds: float, name: str) -> None:
    """Do `work` every so many seconds for ever, whatever goes wrong."""
    while not stopping.wait(seconds):
        try:
            work()
        except Exception:
            log.exception("worker %s: a round failed; trying again", name)
            connection.close()
    connection.close()


def keep_sealing(name: str) -> None:
    """Every second for ever: chain what was recorded (`moderation.audit.chain`)."""
    sealer = Sealer()
    while not stopping.wait(SEALING_SECONDS):
        try:
            sealer.seal()
        except Exception:
            log.exception("worker %s: sealing the audit log failed; trying again", name)
            connection.close()
    connection.close()


def keep_signing(name: str) -> None:
    """Every few seconds for ever: sign a checkpoint of the audit log when one is due, and publish it."""
    unpublished = ""
    while not stopping.wait(SIGNING_SECONDS):
        try:
            unpublished = checkpoints.keep_up(unpublished)
        except BrokenError as problem:
            log.critical("worker %s: the audit log is BROKEN and is not signed: %s", name, problem)
            keep_alarm(AuditAlarm.Problem.BROKEN)
        except SigningKeyError as problem:
            log.critical("worker %s: the audit log is not signed: %s", name, problem)
            keep_alarm(problem.problem)
        except Exception:
            log.exception("worker %s: signing the audit log failed; trying again", name)
            connection.close()
    connection.close()


def keep_alarm(problem: AuditAlarm.Problem) -> None:
    """Raise an alarm of the audit log; a database that is away must not end the loop."""
    try:
        audit_alarms.raise_alarm(problem)
    except Error:
        log.exception("the audit log's alarm was not raised; trying again")
        connection.close()


# Each runs in a thread of its own.
LOOPS = (
    keep_house,
    keep_checking,
    keep_reading,
    keep_watching,
    keep_comparing,
    keep_searchable,
    keep_sealing,
    keep_signing,
)


def prune() -> None:
    """Forget what nobody asks about any more: tasks that are done, workers that are long gone, exported files."""
    long_ago = timezone.now() - TASKS_KEPT
    DBTaskResult.objects.finished().filter(finished_at__lt=long_ago).delete()
    Heartbeat.objects.filter(at__lt=long_ago).delete()
    jobs.forget()
