"""The search index of messages: normalised text (`SearchText`) and an index of its grams."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from django.db import connection

from moderation.archive import messages, rows
from moderation.archive.models import Message
from moderation.search import index_postgresql, index_sqlite
from moderation.search.grams import words_of
from moderation.search.models import SearchProgress, SearchText
from moderation.search.normalise import VERSION, normalise

TABLE = SearchText._meta.db_table
# The gram indexes of messages and of senders' names, which are not Django models.
MESSAGES, SENDERS = "search_searchgrams", "search_sendergrams"
# Older messages indexed in one transaction.
PIECE = 500

# ruff: noqa: S608 - the only thing put into statements is the names above


def engine() -> ModuleType:
    """The module for this database's engine; both have the same functions."""
    return index_sqlite if connection.vendor == "sqlite" else index_postgresql


def text_of(message: Message) -> str:
    """The message's normalised text."""
    return normalise(messages.read_value(message.data, message.raw).searchable)


def add(messages: Sequence[Message]) -> None:
    """Index new messages, inside the caller's transaction."""
    for some in rows.in_parts(sorted(messages, key=lambda message: message.pk)):
        _write([(message.pk, text_of(message)) for message in some])


def replace(messages: Sequence[Message]) -> None:
    """Index messages again after their text has changed, inside the caller's transaction."""
    for some in rows.in_parts(sorted(messages, key=lambda message: message.pk)):
        _remove_from_index([message.pk for message in some])
        _write([(message.pk, text_of(message)) for message in some])


def _write(texts: list[tuple[int, str]]) -> None:
    values = [(pk, text, words_of(text), VERSION) for pk, text in texts]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} (message_id, text, words, rules) "
            f"VALUES {', '.join(['(%s, %s, %s, %s)'] * len(texts))} ON CONFLICT (message_id) DO UPDATE "
            "SET text = excluded.text, words = excluded.words, rules = excluded.rules",
            [value for row in values for value in row],
        )
    engine().add(MESSAGES, [(pk, words) for pk, _text, words, _rules in values])


def _remove_from_index(pks: Sequence[int]) -> None:
    engine().remove(MESSAGES, SearchText.objects.filter(pk__in=pks).values_list("pk", "words"))


def forget(pks: Sequence[int]) -> None:
    """Remove messages before they are deleted (as many as fit into one statement), inside the caller's transaction."""
    _remove_from_index(pks)
    SearchText.objects.filter(pk__in=pks).delete()


def add_older(most: int = 10) -> int:
    """Index messages not indexed by the current rules (`normalise.VERSION`), at most `most` pieces; return how many.

    Several workers may run this concurrently, and continue where one has stopped. It never finishes for good, because a
    console of an older version may still be running and index messages by its own rules.
    """
    added = 0
    for _piece in range(most):
        # Skip the lock when there is no work.
        by_these_rules = SearchProgress.objects.filter(pk=1, rules=VERSION).values_list("done", flat=True).first()
        if by_these_rules is not None and not Message.objects.filter(pk__gt=by_these_rules).exists():
            break
        with rows.writing():
            progress, _new = SearchProgress.objects.select_for_update().get_or_create(pk=1)
            if progress.rules != VERSION:
                progress.rules, progress.done, progress.older = VERSION, 0, _newest() if _is_stale() else 0
            after = Message.objects.filter(pk__gt=progress.done).order_by("pk")
            pks = list(after.values_list("pk", flat=True)[:PIECE])
            current = SearchText.objects.filter(pk__in=pks, rules=VERSION).values_list("pk", flat=True)
            stale = Message.objects.filter(pk__in=set(pks) - set(current)).order_by("pk").defer("recalled_raw")
            # Locked, so that no text is erased or changed while it is read here.
            messages = list(stale.exclude(sha256="").select_for_update())
            if messages:
                replace(messages)
            progress.done = max([progress.done, *pks])
            progress.save(update_fields=["rules", "done", "older"])
            added += len(messages)
    return added


def _newest() -> int:
    return Message.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def _is_stale() -> bool:
    """Whether messages are not indexed by the current rules; the oldest message shows it."""
    oldest = Message.objects.exclude(sha256="").order_by("pk").values_list("searchtext__rules", flat=True)[:1]
    return any(rules != VERSION for rules in oldest)


def progress() -> SearchProgress | None:
    """The progress of indexing older messages again; None when it is complete."""
    row = SearchProgress.objects.first() or SearchProgress()
    if row.rules == VERSION:
        return row if row.done < row.older else None
    return SearchProgress(older=_newest()) if _is_stale() else None
