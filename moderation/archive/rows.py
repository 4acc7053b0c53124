"""Hand-written SQL for every delivery: building these statements with the ORM takes longer than running them.

Both engines accept the same SQL. Values are passed as parameters.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar

from django.db import OperationalError, connection, models, transaction

from moderation.archive.models import Conversation, Kind, Message, Sender
from moderation.goeasy.client import Group, Private, Target

Key = TypeVar("Key")
Value = TypeVar("Value")

# The engines limit the number of parameters in one statement.
MAX_ROWS = 500


def in_parts(things: Sequence[Any], size: int = MAX_ROWS) -> Iterator[Sequence[Any]]:
    """Split `things` into parts that fit into one statement."""
    return (things[start : start + size] for start in range(0, len(things), size))


_one_thread = threading.Lock()


@contextmanager
def writing() -> Iterator[None]:
    """Open a transaction for writing deliveries. On SQLite, writers queue on a file lock.

    SQLite allows one writer at a time, and a waiting one sleeps for longer and longer while later ones overtake it. The
    file lock wakes the next writer at once, and ends with the process that holds it. Pages do not take the lock: its
    holder polls every millisecond until they have finished writing.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block or connection.is_in_memory_db():  # type: ignore[attr-defined]
        with transaction.atomic():
            yield
        return
    with _one_thread, open(f"{connection.settings_dict['NAME']}-turn", "ab") as turn, ExitStack() as stack:
        fcntl.flock(turn, fcntl.LOCK_EX)
        _begin(stack)
        yield


def _begin(stack: ExitStack) -> None:
    """Enter a transaction as soon as no other connection writes (SQLite). Raises OperationalError at the time-out."""
    seconds: float = connection.settings_dict["OPTIONS"].get("timeout", 5)
    deadline = time.monotonic() + seconds
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    stack.enter_context(transaction.atomic())
                    return
                except OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() > deadline:
                        raise
                    # Django's frames and its error hold each other, and a cursor. If a thread that writes collected
                    # them as garbage, it would wait for this connection, which waits for that thread.
                    error.__traceback__ = None
                time.sleep(0.001)
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


@cache
def insert_statement(model: type[models.Model], rows: int) -> str:
    """INSERT statement for `rows` rows; the database assigns the keys."""
    columns = [field.column for field in _fields(model)]
    row = f"({', '.join(['%s'] * len(columns))})"
    names = ", ".join(f'"{column}"' for column in columns)
    return f'INSERT INTO "{model._meta.db_table}" ({names}) VALUES {", ".join([row] * rows)}'  # noqa: S608 - no value


@cache
def _fields(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    """The fields to write: all but the primary key, which the database assigns."""
    return [field for field in model._meta.concrete_fields if not field.primary_key]


def values_of(row: models.Model) -> Iterator[Any]:
    """The parameters of `insert_statement` for one row."""
    for field in _fields(type(row)):
        value = getattr(row, field.attname)
        if value is not None and isinstance(field, models.DateTimeField):
            value = connection.ops.adapt_datetimefield_value(value)
        yield value


class TTLCache(Generic[Key, Value]):
    """Cache in the process's memory whose entries expire after `seconds`, for look-ups at every delivery."""

    MAX_ENTRIES = 20_000
    instances: ClassVar[list[TTLCache[Any, Any]]] = []

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._entries: dict[Key, tuple[float, Value]] = {}
        self.instances.append(self)

    def get(self, key: Key) -> Value | None:
        at, value = self._entries.get(key, (-self._seconds, None))
        return value if time.monotonic() - at < self._seconds else None

    def put(self, key: Key, value: Value) -> None:
        if len(self._entries) >= self.MAX_ENTRIES:
            self._entries.clear()
        self._entries[key] = (time.monotonic(), value)

    def forget(self, key: Key) -> None:
        self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()


# A conversation's key never changes.
_conversation_cache: TTLCache[tuple[int, Target], int] = TTLCache(seconds=10.0)
# For this long an unchanged name is not compared with the database, whatever others wrote meanwhile.
sender_cache: TTLCache[tuple[int, str], Sender] = TTLCache(seconds=10.0)


def clear_caches() -> None:
    """Clear all caches of this process, after an error that stale entries may have caused."""
    for each in TTLCache.instances:
        each.clear()


def insert_messages(messages: Sequence[Message]) -> list[Message]:
    """Insert those of `messages` that are not stored yet, and return them with keys; callers sort them by `key`.

    Waits for the end of any other transaction that is inserting the same message.
    """
    new: list[Message] = []
    with connection.cursor() as cursor:
        for some in in_parts(messages):
            cursor.execute(
                f"{insert_statement(Message, len(some))} ON CONFLICT DO NOTHING RETURNING "
                '"id", "conversation_id", "message_id", "timestamp", "sender_id", "payload_sha256"',
                [value for message in some for value in values_of(message)],
            )
            written = {tuple(identity): pk for pk, *identity in cursor.fetchall()}
            for message in some:
                if pk := written.get(key(message)):
                    message.pk = pk
                    new.append(message)
    return new


def key(message: Message) -> tuple[int, str, int, str, str]:
    """The unique key of a message, and the order in which messages are written."""
    return (
        *(message.conversation_id, message.message_id),
        *(message.timestamp, message.sender_id, message.payload_sha256),
    )


def conversation_ids(application_id: int, targets: Sequence[Target]) -> dict[Target, int]:
    """Keys of the existing conversations among `targets` (pairs in canonical order)."""
    cached = {target: pk for target in targets if (pk := _conversation_cache.get((application_id, target)))}
    targets = [target for target in targets if target not in cached]
    if not targets:
        return cached
    groups = [target for target in targets if isinstance(target, Group)]
    pairs = [target for target in targets if isinstance(target, Private)]
    select = f'FROM "{Conversation._meta.db_table}" WHERE "application_id" = %s AND "kind" = %s AND'  # noqa: S608
    fetched: dict[Target, int] = {}
    with connection.cursor() as cursor:
        for some in in_parts(groups):
            cursor.execute(
                f'SELECT "id", "group_id" {select} "group_id" IN ({", ".join(["%s"] * len(some))})',
                [application_id, Kind.GROUP.value, *(group.group_id for group in some)],
            )
            fetched |= {Group(group_id): pk for pk, group_id in cursor.fetchall()}
        for some in in_parts(pairs):
            cursor.execute(
                f'SELECT "id", "user_a", "user_b" {select} '
                f'("user_a", "user_b") IN (VALUES {", ".join(["(%s, %s)"] * len(some))})',
                [application_id, Kind.PRIVATE.value, *(user for each in some for user in (each.user_a, each.user_b))],
            )
            fetched |= {Private(user_a, user_b): pk for pk, user_a, user_b in cursor.fetchall()}
    for target, pk in fetched.items():
        _conversation_cache.put((application_id, target), pk)
    return cached | fetched


def advance(newest: Sequence[tuple[int, int]]) -> None:
    """Advance `last_timestamp` of conversations, given as (key, ms) and sorted by key."""
    update = f'UPDATE "{Conversation._meta.db_table}" SET "last_timestamp" = %s '  # noqa: S608 - no value
    update += 'WHERE "id" = %s AND "last_timestamp" < %s'
    values = [(timestamp, pk, timestamp) for pk, timestamp in newest]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executemany(update, values)
            return
        # PostgreSQL runs several statements in one round trip, in order.
        for some in in_parts(values):
            cursor.execute("; ".join([update] * len(some)), [value for row in some for value in row])


def senders(application_id: int, user_ids: Sequence[str]) -> dict[str, Sender]:
    """The stored senders with these ids, by id; they also enter `sender_cache`."""
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT "id", "user_id", "name", "avatar", "as_of" FROM "{Sender._meta.db_table}" '  # noqa: S608 - no value
            f'WHERE "application_id" = %s AND "user_id" IN ({", ".join(["%s"] * len(user_ids))})',
            [application_id, *user_ids],
        )
        by_id = {
            user_id: Sender(
                pk=pk, application_id=application_id, user_id=user_id, name=name, avatar=avatar, as_of=as_of
            )
            for pk, user_id, name, avatar, as_of in cursor.fetchall()
        }
    for user_id, sender in by_id.items():
        sender_cache.put((application_id, user_id), sender)
    return by_id
