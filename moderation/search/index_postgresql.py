"""The indexes of grams on PostgreSQL: GIN indexes on a function of the words, which the database keeps itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection

from moderation.search.grams import MAX_GRAMS, Needle

# ruff: noqa: S608 - the only thing put into statements is names of indexes and of columns

# What reads each index, by that alone; a migration makes them.
FUNCTIONS = {"search_searchgrams": "search_messages_with", "search_sendergrams": "search_senders_with"}
# The keys of rows as one parameter, however many; and where in a column a text begins.
KEYS = "SELECT unnest(%s::bigint[])"
POSITION = "strpos({column}, %s)"


def keys(pks: Sequence[int]) -> Any:
    """The parameter of KEYS."""
    return list(pks)


def add(index: str, rows: Sequence[tuple[int, str]]) -> None:
    """Nothing: the row itself is indexed."""


def remove(index: str, rows: Iterable[tuple[int, str]]) -> None:
    """Nothing: the index lets go of the row with the row."""


def candidates(index: str, needle: Needle, most: int) -> list[int]:
    """The keys of at most `most` rows that may hold the needle. More grams of a long text would narrow no further."""
    grams = sorted(needle.grams)[:MAX_GRAMS]
    # In quotes: to PostgreSQL some sign of another script is a space.
    query = " & ".join(f"'{gram}'" for gram in grams) or f"'{needle.beginning}':*"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {FUNCTIONS[index]}(%s::tsquery, %s)", [query, most])
        return [pk for (pk,) in cursor.fetchall()]
