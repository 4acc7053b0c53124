"""A database outage during a recall: no call leaves without intent, and the recall finishes afterwards."""

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
def outage() -> Iterator[None]:
    """Block writes to the test database; on PostgreSQL, close all connections and refuse new ones."""
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
        # As a restart of the server would.
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def recall_during_outage(
    seconds: float, run: Start, live: Callable[..., Life], moderator: Any, reason: Any, sandbox: Any, witness: Witness
) -> Recall:
    """Interrupt the database for `seconds` while a worker sends; return the finished recall."""
    arrived = threading.Semaphore(0)

    witness.patience = seconds + 20

    def observe(call: dict[str, Any]) -> None:
        arrived.release()
        witness.observe(call)

    sandbox.on_call = observe
    sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 50}])
    recall = live(60).request(moderator, reason)
    run(RECALL_VERIFY="false")
    for _call in range(10):
        assert arrived.acquire(timeout=30)
    connection.close()
    with outage():
        time.sleep(seconds)
    with contextlib.suppress(Exception):
        connection.ensure_connection()
    wait_until(lambda: is_finished(recall), seconds=90)
    return recall


def test_a_recall_survives_an_outage_of_three_seconds(
    start: Start,  # noqa: F811
    live: Callable[..., Life],
    moderator: Any,
    reason: Any,
    sandbox: Any,
    witness: Witness,
) -> None:
    recall = recall_during_outage(3, start, live, moderator, reason, sandbox, witness)
    check_all_accepted(recall, witness)


@pytest.mark.soak
def test_a_recall_survives_an_outage_of_ten_seconds(
    start: Start,  # noqa: F811
    live: Callable[..., Life],
    moderator: Any,
    reason: Any,
    sandbox: Any,
    witness: Witness,
) -> None:
    recall = recall_during_outage(10, start, live, moderator, reason, sandbox, witness)
    print(f"\n{connection.vendor}: a database outage of 10 s in a recall of 60 calls")
    for line in witness.figures():
        print(f"  {line}")
    check_all_accepted(recall, witness)


def check_all_accepted(recall: Recall, witness: Witness) -> None:
    """Check that every call was made once, with intent, and is recorded as accepted."""
    witness.check()
    assert witness.received == 60
    assert set(recall.batches.values_list("state", flat=True)) == {RecallBatch.State.ACCEPTED}
