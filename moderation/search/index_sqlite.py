"""Gram indexes on SQLite: contentless FTS5 tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection

from moderation.search.grams import MAX_GRAMS, Needle, grams_of

# ruff: noqa: S608 - the only thing put into statements is names of indexes and of columns

# The keys of rows as one parameter, however many; and where in a column a text begins.
KEYS = "SELECT value FROM json_each(%s)"
POSITION = "instr({column}, %s)"


def keys(pks: Sequence[int]) -> Any:
    """The parameter of KEYS."""
    return json.dumps(list(pks))


def add(index: str, rows: Sequence[tuple[int, str]]) -> None:
    """Add new rows (key and words) to the index."""
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {index} (rowid, grams) VALUES {', '.join(['(%s, %s)'] * len(rows))}",
                [value for pk, words in rows for value in (pk, " ".join(grams_of(words)))],
            )


def remove(index: str, rows: Iterable[tuple[int, str]]) -> None:
    """Remove rows from the index. A contentless table needs the words it has indexed for them."""
    gone = [(pk, " ".join(grams_of(words))) for pk, words in rows]
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {index} ({index}, rowid, grams) VALUES ('delete', %s, %s)", gone)


def candidates(index: str, needle: Needle, most: int) -> list[int]:
    """Keys of at most `most` rows that may contain the needle, by at most MAX_GRAMS of its grams."""
    query = " ".join(sorted(needle.grams)[:MAX_GRAMS]) or f"{needle.beginning} *"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT rowid FROM {index} WHERE {index} MATCH %s LIMIT %s", [query, most])
        return [pk for (pk,) in cursor.fetchall()]
