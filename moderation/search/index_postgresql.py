"""Gram indexes on PostgreSQL: GIN expression indexes on the words, maintained by the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection

from moderation.search.grams import MAX_GRAMS, Needle

# ruff: noqa: S608 - the only thing put into statements is names of indexes and of columns

# The function, made by a migration, that searches each index and uses nothing but that index.
FUNCTIONS = {"search_searchgrams": "search_messages_with", "search_sendergrams": "search_senders_with"}
# The keys of rows as one parameter, however many; and where in a column a text begins.
KEYS = "SELECT unnest(%s::bigint[])"
POSITION = "strpos({column}, %s)"


def keys(pks: Sequence[int]) -> Any:
    """The parameter of KEYS."""
    return list(pks)


def add(index: str, rows: Sequence[tuple[int, str]]) -> None:
    """Do nothing: the database indexes the row itself."""


def remove(index: str, rows: Iterable[tuple[int, str]]) -> None:
    """Do nothing: the database removes the row from the index."""


def candidates(index: str, needle: Needle, most: int) -> list[int]:
    """Keys of at most `most` rows that may contain the needle, by at most MAX_GRAMS of its grams."""
    grams = sorted(needle.grams)[:MAX_GRAMS]
    # Quoted, because PostgreSQL takes some characters of other scripts for spaces.
    query = " & ".join(f"'{gram}'" for gram in grams) or f"'{needle.beginning}':*"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {FUNCTIONS[index]}(%s::tsquery, %s)", [query, most])
        return [pk for (pk,) in cursor.fetchall()]
