"""The database goes away in the middle of a recall: no call leaves without intent, and it ends by itself afterwards."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from recall.models import Recall, RecallBatch
from tests.faults.conftest import Life
from tests.faults.test_workers import Start, is_finished, start, wait_until  # noqa: F401 - a fixture
from tests.faults.witness import Witness

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def away() -> Iterator[None]:
    """Nobody can write to the test's database; on PostgreSQL nobody is connected to it, and nobody can connect."""
    if connection.vendor == "sqlite":
        other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None, timeout=30)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()
        return
    import psycopg

    database = connection.settings_dict
    name = database["NAME"]
    server = {field.lower(): database[field] for field in ("HOST", "PORT", "USER", "PASSWORD")}
    with psycopg.connect(**server, dbname="postgres", autocommit=True) as other:
        other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        # As a restart of the server does.
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def go_away(
    seconds: float, run: Start, live: Callable[..., Life], who: Any, reason: Any, sandbox: Any, witness: Witness
) -> Recall:
    """Have the database away for `seconds` while a worker sends; the recall, finished."""
    arrived = threading.Semaphore(0)

    witness.patience = seconds + 20

    def see(call: dict[str, Any]) -> None:
        arrived.release()
        witness.see(call)

    sandbox.on_call = see
    sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 50}])
    recall = live(60).request(who, reason)
    run(RECALL_VERIFY="false")
    for _call in range(10):
        assert arrived.acquire(timeout=30)
    connection.close()
    with away():
        time.sleep(seconds)
    with contextlib.suppress(Exception):
        connection.ensure_connection()
    wait_until(lambda: is_finished(recall), seconds=90)
    return recall


def test_away_for_three_seconds(
    start: Start,  # noqa: F811
    live: Callable[..., Life],
    moderator: Any,
    reason: Any,
    sandbox: Any,
    witness: Witness,
) -> None:
    recall = go_away(3, start, live, moderator, reason, sandbox, witness)
    ends_well(recall, witness)


@pytest.mark.soak
def test_away_for_ten_seconds(
    start: Start,  # noqa: F811
    live: Callable[..., Life],
    moderator: Any,
    reason: Any,
    sandbox: Any,
    witness: Witness,
) -> None:
    recall = go_away(10, start, live, moderator, reason, sandbox, witness)
    print(f"\n{connection.vendor}: the database away for 10 s in a recall of 60 calls")
    for line in witness.figures():
        print(f"  {line}")
    ends_well(recall, witness)


def ends_well(recall: Recall, witness: Witness) -> None:
    """Every call was made once, with intent, and its outcome is in the record."""
    witness.check()
    assert witness.received == 60
    assert set(recall.batches.values_list("state", flat=True)) == {RecallBatch.State.ACCEPTED}
