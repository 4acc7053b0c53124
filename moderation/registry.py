"""What apps hand to operations, in their `apps.py`: loops of the worker, and what is put right after a restore."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.dispatch import Signal


@dataclass(frozen=True)
class Loop:
    """Work that every worker does again and again, `seconds` after the last round ended, whatever goes wrong.

    Loops of one `thread` take turns; without one a loop has a thread of its own, which costs a connection to the
    database. `at_once`: the first round begins with the worker.
    """

    name: str
    run: Callable[[], object]
    seconds: float
    thread: str = ""
    at_once: bool = False


_loops: dict[str, Loop] = {}


def register(*loops: Loop) -> None:
    """Have every worker run these loops; one of the same name takes the place of the former."""
    _loops.update({loop.name: loop for loop in loops})


def threads() -> list[list[Loop]]:
    """The registered loops, by the thread that they run in."""
    by_thread: dict[str, list[Loop]] = {}
    for loop in _loops.values():
        by_thread.setdefault(loop.thread or loop.name, []).append(loop)
    return list(by_thread.values())


# Sent by `manage.py restore` in its own transaction: the database is that of a backup, brought up to date, and no
# worker runs yet. A receiver puts right what the backup says of the world outside and is not known any more, and
# returns what it found, by names of `operations.restore.restore()`.
restored = Signal()
