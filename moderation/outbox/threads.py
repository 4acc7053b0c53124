"""The threads that send. They never touch the database: whoever claims also records."""

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

# Set when this process is told to end: nothing new is claimed, what is under way is recorded.
stopping = threading.Event()
# Outcomes that come within this time are recorded in one commit (seconds).
COLLECT_FOR = 0.015


class SendThreads:
    """As many threads as an application has slots; each performs one call at a time.

    `may_send` is asked before each call; what it forbids is given back as Withdrawn.
    """

    def __init__(self, client: Client, may_send: Callable[[], bool]) -> None:
        self.client = client
        self.may_send = may_send
        self.ready: queue.SimpleQueue[Claim | None] = queue.SimpleQueue()
        self.results: queue.SimpleQueue[tuple[Claim, Answer | GoEasyError]] = queue.SimpleQueue()
        self.threads: list[threading.Thread] = []

    def start(self, count: int) -> None:
        """Start so many more."""
        for _thread in range(count):
            self.threads.append(threading.Thread(target=self.send_loop, daemon=True))
            self.threads[-1].start()

    def close(self) -> None:
        """Return when all have ended."""
        for _thread in self.threads:
            self.ready.put(None)
        for thread in self.threads:
            thread.join()

    def send_loop(self) -> None:
        """One thread's share: perform what is ready when its time has come, and hand on what came of it."""
        while (claim := self.ready.get()) is not None:
            if (ahead := (claim.at - timezone.now()).total_seconds()) > 0:
                stopping.wait(ahead)
            self.results.put((claim, self.perform(claim)))

    def perform(self, claim: Claim) -> Answer | GoEasyError:
        """The answer to a call, or why there is none."""
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
        """The results that have come, and those that come within a moment: one commit for all of them.

        The first is waited for `patience` seconds; more than `limit` do not come.
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
