"""The statements that every delivery runs, written out: to build them anew each time takes longer than to run them.

Both engines take the same words. Values go in as parameters.
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

# The engines bound the parameters of one statement.
MOST_ROWS = 500


def in_parts(things: Sequence[Any], size: int = MOST_ROWS) -> Iterator[Sequence[Any]]:
    """`things` in parts that fit into a statement."""
    return (things[start : start + size] for start in range(0, len(things), size))


_one_thread = threading.Lock()


@contextmanager
def writing() -> Iterator[None]:
    """A transaction to write deliveries in. On SQLite they take turns.

    There one transaction writes at a time, and whoever finds another at it sleeps, for longer each time, while those
    who come later go first. A lock on a file wakes the next one at once; it ends with the process that holds it. Pages
    take no turns: the one whose turn it is looks every millisecond whether they are done.
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
    """Enter a transaction as soon as nobody else writes (SQLite). Raises OperationalError after the usual time-out."""
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
                time.sleep(0.001)
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


@cache
def insert_statement(model: type[models.Model], rows: int) -> str:
    """INSERT of so many rows, but for the keys that the database gives."""
    columns = [field.column for field in _fields(model)]
    row = f"({', '.join(['%s'] * len(columns))})"
    names = ", ".join(f'"{column}"' for column in columns)
    return f'INSERT INTO "{model._meta.db_table}" ({names}) VALUES {", ".join([row] * rows)}'  # noqa: S608 - no value


@cache
def _fields(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    """The fields that are written: all but the key that the database gives."""
    return [field for field in model._meta.concrete_fields if not field.primary_key]


def values_of(row: models.Model) -> Iterator[Any]:
    """What `insert_statement` takes of a row."""
    for field in _fields(type(row)):
        value = getattr(row, field.attname)
        if value is not None and isinstance(field, models.DateTimeField):
            value = connection.ops.adapt_datetimefield_value(value)
        yield value


class Known(Generic[Key, Value]):
    """What the database said at most so many seconds ago, for those who ask at every delivery."""

    MOST = 20_000
    all_of_them: ClassVar[list[Known[Any, Any]]] = []

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._said: dict[Key, tuple[float, Value]] = {}
        self.all_of_them.append(self)

    def get(self, key: Key) -> Value | None:
        at, value = self._said.get(key, (-self._seconds, None))
        return value if time.monotonic() - at < self._seconds else None

    def put(self, key: Key, value: Value) -> None:
        if len(self._said) >= self.MOST:
            self._said.clear()
        self._said[key] = (time.monotonic(), value)

    def forget(self, key: Key) -> None:
        self._said.pop(key, None)

    def clear(self) -> None:
        self._said.clear()


# A conversation keeps its key for ever.
_conversations: Known[tuple[int, Target], int] = Known(seconds=10.0)
# Who is called as before is as good as known for so long, whatever others wrote meanwhile.
met: Known[tuple[int, str], Sender] = Known(seconds=10.0)


def forget_known() -> None:
    """Ask the database anew: it was not what it seemed."""
    for known in Known.all_of_them:
        known.clear()


def insert_messages(messages: Sequence[Message]) -> list[Message]:
    """Write those of `messages` that are not there yet, and return them, with keys; give them in one order everywhere.

    Where another transaction is about to write the same message, its end is waited for.
    """
    new: list[Message] = []
    with connection.cursor() as cursor:
        for some in in_parts(messages):
            cursor.execute(
                f"{insert_statement(Message, len(some))} ON CONFLICT DO NOTHING RETURNING "
                '"id", "conversation_id", "message_id", "timestamp", "sender_id", "payload_sha256"',
                [value for message in some for value in values_of(message)],
            )
            written = {tuple(told): pk for pk, *told in cursor.fetchall()}
            for message in some:
                if pk := written.get(key(message)):
                    message.pk = pk
                    new.append(message)
    return new


def key(message: Message) -> tuple[int, str, int, str, str]:
    """What no two messages share, and the order in which they are written."""
    return (
        *(message.conversation_id, message.message_id),
        *(message.timestamp, message.sender_id, message.payload_sha256),
    )


def conversation_ids(application_id: int, targets: Sequence[Target]) -> dict[Target, int]:
    """The keys of those conversations that there are of `targets` (pairs in order)."""
    known = {target: pk for target in targets if (pk := _conversations.get((application_id, target)))}
    targets = [target for target in targets if target not in known]
    if not targets:
        return known
    groups = [target for target in targets if isinstance(target, Group)]
    pairs = [target for target in targets if isinstance(target, Private)]
    select = f'FROM "{Conversation._meta.db_table}" WHERE "application_id" = %s AND "kind" = %s AND'  # noqa: S608
    found: dict[Target, int] = {}
    with connection.cursor() as cursor:
        for some in in_parts(groups):
            cursor.execute(
                f'SELECT "id", "group_id" {select} "group_id" IN ({", ".join(["%s"] * len(some))})',
                [application_id, Kind.GROUP.value, *(group.group_id for group in some)],
            )
            found |= {Group(group_id): pk for pk, group_id in cursor.fetchall()}
        for some in in_parts(pairs):
            cursor.execute(
                f'SELECT "id", "user_a", "user_b" {select} '
                f'("user_a", "user_b") IN (VALUES {", ".join(["(%s, %s)"] * len(some))})',
                [application_id, Kind.PRIVATE.value, *(user for each in some for user in (each.user_a, each.user_b))],
            )
            found |= {Private(user_a, user_b): pk for pk, user_a, user_b in cursor.fetchall()}
    for target, pk in found.items():
        _conversations.put((application_id, target), pk)
    return known | found


def advance(newest: Sequence[tuple[int, int]]) -> None:
    """Let each conversation (its key first, in one order everywhere) know of its newest message's time (ms)."""
    update = f'UPDATE "{Conversation._meta.db_table}" SET "last_timestamp" = %s '  # noqa: S608 - no value
    update += 'WHERE "id" = %s AND "last_timestamp" < %s'
    values = [(timestamp, pk, timestamp) for pk, timestamp in newest]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executemany(update, values)
            return
        # PostgreSQL takes them in one go, and in their order.
        for some in in_parts(values):
            cursor.execute("; ".join([update] * len(some)), [value for row in some for value in row])


def senders(application_id: int, user_ids: Sequence[str]) -> dict[str, Sender]:
    """What the database knows of these users, by id; they are `met`."""
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT "id", "user_id", "name", "avatar", "as_of" FROM "{Sender._meta.db_table}" '  # noqa: S608 - no value
            f'WHERE "application_id" = %s AND "user_id" IN ({", ".join(["%s"] * len(user_ids))})',
            [application_id, *user_ids],
        )
        found = {
            user_id: Sender(
                pk=pk, application_id=application_id, user_id=user_id, name=name, avatar=avatar, as_of=as_of
            )
            for pk, user_id, name, avatar, as_of in cursor.fetchall()
        }
    for user_id, sender in found.items():
        met.put((application_id, user_id), sender)
    return found
