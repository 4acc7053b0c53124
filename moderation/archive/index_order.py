"""Queries that take a few rows from the end of an index, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def following_indexes() -> Iterator[None]:
    """Have queries with a LIMIT follow an index in its order, and stop there, whatever the table's statistics say.

    Where few rows are expected, PostgreSQL prefers to collect all of them in a bitmap and to sort them, and a
    conversation that is far busier than the average may have a hundred thousand.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        yield
        cursor.execute("SET LOCAL enable_bitmapscan = on")
