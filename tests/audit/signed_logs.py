"""Logs in the database for tests of signatures and verification, and ways to tamper with them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.management import CommandError, call_command
from django.db import connection

from moderation.audit.ledger import triggers
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action

from .entries import record


def write(count: int) -> None:
    """Write `count` entries and seal them."""
    for _ in range(count):
        record(actor="mo", action=Action.ANSWERED)
    Sealer().seal()


def command(name: str, *arguments: object) -> tuple[int, str, str]:
    """Run a command. Returns exit status, stdout, and stderr or the error."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command(name, *map(str, arguments), stdout=out, stderr=err)
    except CommandError as problem:
        return problem.returncode, out.getvalue(), str(problem)
    return 0, out.getvalue(), err.getvalue()


@contextmanager
def behind_the_triggers() -> Iterator[Callable[..., None]]:
    """A function that runs SQL without the triggers, as the tables' owner could."""
    with connection.cursor() as cursor:
        for table in triggers.TABLES:
            for statement in triggers.STATEMENTS[connection.vendor][1](table):
                cursor.execute(statement)
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        yield cursor.execute
        for table in triggers.TABLES:
            for statement in triggers.STATEMENTS[connection.vendor][0](table):
                cursor.execute(statement)
