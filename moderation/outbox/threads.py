"""Threads that send calls. They never use the database: the claiming thread records."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from django.utils import timezone

from moderation.goeasy.client import Answer, Client
from moderation.goeasy.errors import GoEasyError, NoAnswer
from moderation.outbox.effects import Claim, effect_of
from moderation.outbox.retries import Withdrawn

log = logging.getLogger(__name__)

# Set when this process is stopping: nothing more is claimed, calls under way are recorded.
stopping = threading.Event()
# Outcomes within this time are recorded in one commit (seconds).
COLLECT_FOR = 0.015


class SendThreads:
    """As many threads as an application has slots; each performs one call at a time.

    `may_send` is called before each call; a call that it refuses results in Withdrawn.
    """

    def __init__(self, client: Client, may_send: Callable[[], bool]) -> None:
        self.client = client
        self.may_send = may_send
        self.ready: queue.SimpleQueue[Claim | None] = queue.SimpleQueue()
        self.results: queue.SimpleQueue[tuple[Claim, Answer | GoEasyError]] = queue.SimpleQueue()
        self.threads: list[threading.Thread] = []

    def start(self, count: int) -> None:
        """Start `count` more threads."""
        for _thread in range(count):
            self.threads.append(threading.Thread(target=self.send_loop, daemon=True))
            self.threads[-1].start()

    def close(self) -> None:
        """End all threads and wait for them."""
        for _thread in self.threads:
            self.ready.put(None)
        for thread in self.threads:
            thread.join()

    def send_loop(self) -> None:
        """Loop of one thread: perform each ready call at its time, and queue its result."""
        while (claim := self.ready.get()) is not None:
            if (ahead := (claim.at - timezone.now()).total_seconds()) > 0:
                stopping.wait(ahead)
            self.results.put((claim, self.perform(claim)))

    def perform(self, claim: Claim) -> Answer | GoEasyError:
        """Perform a call; return the answer or the error."""
        if not self.may_send():
            return Withdrawn("The call was claimed and then not tried.")
        try:
            return effect_of(claim.call.effect).perform(self.client, claim.call)
        except GoEasyError as error:
            return error
        except Exception:
            log.exception("%s: it ended in an error of this program", claim.call)
            return NoAnswer("The program failed while it made the call.", kind="internal")

    def collect_results(self, limit: int, patience: float) -> list[tuple[Claim, Answer | GoEasyError]]:
        """Collect the available results and those that follow within COLLECT_FOR, for one commit.

        Waits `patience` seconds for the first one. At most `limit` results.
        """
        collected = []
        try:
            collected.append(self.results.get(timeout=patience) if patience else self.results.get_nowait())
            until = time.monotonic() + COLLECT_FOR
            while len(collected) < min(len(self.threads), limit):
                collected.append(self.results.get(timeout=max(0.0, until - time.monotonic())))
        except queue.Empty:
            pass
        return collected
