"""The archive's lists with many messages compared with 10,000, and the SQL statements that they run.

`bench_archive_lists.py [messages]`, 10,000,000 unless given. One process serves both archives in turn. A tenth
of the messages is in one conversation, the others are spread in order of time over conversations of about 90 each, so
that a page's messages are scattered over the table as in a running console. The pages are the real ones, without
calls to GoEasy (no key), whose time would hide the archive's. The search index is empty: bench_search.py measures
searching.

Run it with DATABASE_URL of either engine (default: a new SQLite file). Beside that database two are made, with "_many"
and "_few" after its name, and dropped at the end. Filling 10,000,000 takes minutes and some 10 GB.
"""

from __future__ import annotations

import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from _setup import verdict

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FEW = 10_000
ROUNDS = 150
# Requests for each page before measuring starts.
WARM_UP = 5
FIRST = 1_700_000_000_000
STEP = 37
EACH = 90
PIECE = 1_000_000
TEXT = "This is the offer of the day, 加我微信 稳赚不赔 名额有限"


def prepare(folder: str) -> None:
    """Set up Django, without a GoEasy key."""
    os.environ.setdefault("DATABASE_URL", f"sqlite:///{folder}/bench.sqlite3")
    os.environ |= {
        "SECRET_KEY": "benchmark-" * 6,
        "DEBUG": "true",
        "DJANGO_SETTINGS_MODULE": "moderation.settings",
        "GOEASY_APPKEY": "",
        "ALLOWED_HOSTS": "testserver",
        "AUDIT_CHECKPOINT_FILE": "",
    }
    import django

    django.setup()
    from django.conf import settings

    # DEBUG was needed for static files only, and would keep every query in memory.
    settings.DEBUG = False
    # No pool, because it belongs to the alias, which both archives share; each keeps one connection.
    database = settings.DATABASES["default"]
    database["OPTIONS"].pop("pool", None)
    database["CONN_MAX_AGE"] = None


@contextmanager
def database(name: str) -> Iterator[Any]:
    """Create an empty database beside that of DATABASE_URL and yield a connection; drop it at the end."""
    from django.db import connections
    from django.db.utils import load_backend

    there = connections["default"]
    name = f"{there.settings_dict['NAME']}_{name}"
    if there.vendor == "postgresql":
        with there.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
    made = load_backend(there.settings_dict["ENGINE"]).DatabaseWrapper({**there.settings_dict, "NAME": name})
    try:
        yield made
    finally:
        made.close()
        if there.vendor == "postgresql":
            with there.cursor() as cursor:
                cursor.execute(f'DROP DATABASE "{name}"')
        else:
            for part in ("", "-wal", "-shm"):
                Path(f"{name}{part}").unlink(missing_ok=True)


@dataclass(frozen=True)
class Answer:
    """A response with its total time and the time of its statements (seconds)."""

    page: Any
    took: float
    in_database: float


@dataclass
class Archive:
    """A database with `messages` messages, and a signed-in client."""

    messages: int
    connection: Any
    client: Any = None

    def __enter__(self) -> Archive:
        """Make it Django's default database."""
        from django.db import connections

        self.before = connections["default"]
        connections["default"] = self.connection
        return self

    def __exit__(self, *_error: object) -> None:
        from django.db import connections

        connections["default"] = self.before

    @property
    def conversations(self) -> int:
        """Number of conversations without the large one."""
        return self.messages * 9 // 10 // EACH

    def timestamp(self, number: int) -> int:
        return FIRST + number * STEP

    def get(self, address: str) -> Answer:
        """Request a page."""
        in_database = 0.0

        def clock(execute: Any, *arguments: Any) -> Any:
            nonlocal in_database
            began = time.perf_counter()
            try:
                return execute(*arguments)
            finally:
                in_database += time.perf_counter() - began

        with self.connection.execute_wrapper(clock):
            started = time.perf_counter()
            page = self.client.get(address)
            took = time.perf_counter() - started
        assert page.status_code == 200, (address, page.status_code)
        return Answer(page, took, in_database)


def fill(archive: Archive) -> None:
    """Migrate the archive's database and insert its messages with SQL."""
    from django.core.management import call_command
    from django.test import Client

    from moderation.accounts.models import User
    from moderation.applications.models import Application

    call_command("migrate", verbosity=0)
    archive.client = Client()
    archive.client.force_login(User.objects.create_user(f"bench-{time.time_ns()}", role="lead"))
    started = time.perf_counter()
    application = Application.objects.get(slug="default").pk
    is_sqlite = archive.connection.vendor == "sqlite"
    with archive.connection.cursor() as cursor:
        if is_sqlite:
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.execute("PRAGMA cache_size = -1000000")
        indexes = _drop_indexes(cursor, is_sqlite)
        numbers = _numbers(is_sqlite, 0, archive.conversations + 1)
        # Groups and pairs in turn; the large conversation, number 0, is a group.
        cursor.execute(
            f"""
            INSERT INTO archive_conversation (id, application_id, kind, user_a, user_b, group_id, last_timestamp, name,
                avatar, named_as_of, compared_until, history_problem, held_by, hold_note)
            SELECT n + 1, {application}, CASE n % 2 WHEN 0 THEN 'group' ELSE 'private' END,
                CASE n % 2 WHEN 0 THEN '' ELSE 'a-' || n END, CASE n % 2 WHEN 0 THEN '' ELSE 'b-' || n END,
                CASE n % 2 WHEN 0 THEN 'g-' || n ELSE '' END, {FIRST} + n * {STEP}, '', '', 0, 0, '', '', ''
            FROM {numbers}
            """
        )
        for start in range(0, archive.messages, PIECE):
            cursor.execute(_messages(archive, is_sqlite, start))
        for index in indexes:
            cursor.execute(index)
        if is_sqlite:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            # Autovacuum would do this in time.
            cursor.execute("VACUUM ANALYZE archive_message")
            cursor.execute("VACUUM ANALYZE archive_conversation")
    # Reconnecting restores the console's settings.
    archive.connection.close()
    print(f"  {archive.messages:,} messages written in {time.perf_counter() - started:.0f} s", flush=True)


def _numbers(is_sqlite: bool, start: int, end: int) -> str:
    """SQL for a table with one column n, from `start` to before `end`."""
    if is_sqlite:
        return (
            f"(WITH RECURSIVE counted(n) AS (SELECT {start} UNION ALL SELECT n + 1 FROM counted WHERE n < {end - 1}) "
            "SELECT n FROM counted) AS numbers"
        )
    return f"generate_series({start}, {end - 1}) AS numbers(n)"


def _messages(archive: Archive, is_sqlite: bool, start: int) -> str:
    """SQL to insert a piece of the messages: every tenth into the large conversation, the others in rotation."""
    hexed = "printf('%064x', n)" if is_sqlite else "lpad(to_hex(n), 64, '0')"
    stamp = f"({FIRST} + CAST(n AS bigint) * {STEP})"
    conversation = f"CASE n % 10 WHEN 0 THEN 1 ELSE 2 + (n / 10 * 9 + n % 10 - 1) % {archive.conversations} END"
    sender = "CASE n % 8 WHEN 7 THEN 'u-7' ELSE 'u-' || n % 5000 END"
    raw = (
        f"""'{{"type":"text","messageId":"m-' || n || '","timestamp":' || {stamp} || ',"senderId":"' || {sender} """
        f"""|| '","senderData":{{"name":"用户"}},"payload":{{"text":"{TEXT} ' || n || '"}}}}'"""
    )
    return f"""
        INSERT INTO archive_message (id, conversation_id, timestamp, message_id, sender_id, type, raw, sha256,
            payload_sha256, recalled, recalled_raw, seen_at)
        SELECT n + 1, {conversation}, {stamp}, 'm-' || n, {sender}, 'text', {raw}, {hexed}, {hexed},
            n % 50 = 0, '', CURRENT_TIMESTAMP
        FROM {_numbers(is_sqlite, start, min(start + PIECE, archive.messages))}
    """


def _drop_indexes(cursor: Any, is_sqlite: bool) -> list[str]:
    """Drop the indexes of the messages except the primary key; return the SQL to create them again."""
    if is_sqlite:
        cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'archive_message' AND sql <> ''"
        )
    else:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'archive_message' "
            "AND indexname NOT LIKE '%%_pkey'"
        )
    indexes = cursor.fetchall()
    for name, _sql in indexes:
        cursor.execute(f'DROP INDEX "{name}"')
    return [sql for _name, sql in indexes]


Address = Callable[[Archive, random.Random], str]


def addresses() -> dict[str, tuple[Address, Address]]:
    """For each list, functions for the URLs of its first and its deepest page in an archive."""

    def small(archive: Archive, chance: random.Random) -> int:
        """A random group other than the large one."""
        return 1 + 2 * chance.randrange(1, archive.conversations // 2)

    def early(archive: Archive) -> int:
        """The time at which every small conversation had about 60 messages."""
        return archive.timestamp(archive.conversations * 620 // 9)

    def deep(archive: Archive, number: int = 1_300) -> str:
        """A key with just enough messages before it for a page of any list."""
        return f"{archive.timestamp(number)}-{number + 1}"

    def hits(query: str) -> tuple[Address, Address]:
        return (
            lambda archive, _chance: f"/conversations/?{query}",
            lambda archive, _chance: f"/conversations/?{query}&before={deep(archive, 5_000)}",
        )

    return {
        "a small conversation": (
            lambda archive, chance: f"/conversations/{small(archive, chance)}/",
            lambda archive, chance: f"/conversations/{small(archive, chance)}/?before={early(archive)}-1",
        ),
        "the large conversation": (
            lambda archive, _chance: "/conversations/1/",
            lambda archive, _chance: f"/conversations/1/?before={deep(archive)}",
        ),
        "conversations": (
            lambda archive, _chance: "/conversations/",
            lambda archive, _chance: f"/conversations/?after={FIRST + 60 * STEP}-61",
        ),
        "conversations of groups": (
            lambda archive, _chance: "/conversations/?kind=group",
            lambda archive, _chance: f"/conversations/?kind=group&after={FIRST + 99 * STEP}-100",
        ),
        "hits by type": hits("type=text"),
        "hits by sender": hits("sender=u-7"),
        "hits in a conversation": hits("conversation=1"),
        "hits of groups, recalled": hits("kind=group&recalled=yes"),
        "a sender's page": (
            lambda archive, _chance: "/senders/default/?id=u-7",
            lambda archive, _chance: f"/senders/default/?id=u-7&before={deep(archive, 5_000)}",
        ),
    }


def is_unbounded(statement: str) -> bool:
    """Whether a statement counts, skips or deduplicates messages without a bound."""
    if "archive_message" not in statement:
        return False
    # Counting messages that share the timestamps of one page is bounded.
    counts = "COUNT(" in statement and not re.search(r'"timestamp" IN \(', statement)
    return counts or bool(re.search(r"\b(OFFSET|DISTINCT)\b", statement))


def main(number: int) -> int:
    """Print the figures; 1 when one is missed."""
    from django.db import connection

    print(f"{connection.vendor}: {number:,} messages against {FEW:,}")
    with database("many") as with_many, database("few") as with_few:
        many, few = Archive(number, with_many), Archive(FEW, with_few)
        for archive in (few, many):
            with archive:
                fill(archive)
        pages = {
            (name, depth): address
            for name, both in addresses().items()
            for depth, address in zip(("first", "deepest"), both, strict=True)
        }
        statements = unbounded_statements(many, pages)
        figures = compare(few, many, pages)
    for statement in statements:
        print(f"  unbounded: {statement}")
    return verdict([*figures, ("statements that count, skip or sort out among messages", len(statements), "≤", 0)])


def unbounded_statements(archive: Archive, pages: dict[tuple[str, str], Address]) -> list[str]:
    """Request every page once and return the unbounded statements."""
    from django.test.utils import CaptureQueriesContext

    statements: list[str] = []
    with archive:
        for (name, depth), address in pages.items():
            with CaptureQueriesContext(archive.connection) as queries:
                page = archive.get(address(archive, random.Random(1))).page
            statements += [query["sql"] for query in queries.captured_queries if is_unbounded(query["sql"])]
            print(
                f"  {name}, {depth} page: {len(page.content) / 1024:.0f} KB, {len(queries)} queries, {rows(page)} rows",
                flush=True,
            )
    return statements


def rows(page: Any) -> int:
    """How many conversations or messages the page lists."""
    return sum(page.content.count(mark) for mark in (b'<li class="message', b'<li class="hit"', b'<td class="whole"'))


def compare(few: Archive, many: Archive, pages: dict[tuple[str, str], Address]) -> list[tuple[str, float, str, float]]:
    """Request every page from both archives in turn; return the ratios of their 95th percentiles."""
    chance = random.Random(7)
    answers: dict[tuple[int, tuple[str, str]], list[Answer]] = {}
    for turn in range(ROUNDS + WARM_UP):
        for key, address in pages.items():
            for archive in (few, many) if turn % 2 else (many, few):
                with archive:
                    answer = archive.get(address(archive, chance))
                if turn >= WARM_UP:
                    answers.setdefault((archive.messages, key), []).append(answer)
    figures = []
    for name, depth in pages:
        here, there = answers[many.messages, (name, depth)], answers[few.messages, (name, depth)]
        print(
            f"  {name}, {depth} page: p95 {p95(here):.1f} ms of {many.messages:,}, {p95(there):.1f} ms of "
            f"{few.messages:,} ({rows(here[-1].page)}, {rows(there[-1].page)} rows); statements {middle(here):.2f} ms, "
            f"{middle(there):.2f} ms"
        )
        figures.append((f"{name}, {depth} page, many ÷ few", p95(here) / p95(there), "≤", 1.5))
        if depth == "deepest":
            first = answers[many.messages, (name, "first")]
            figures.append((f"{name}, deepest ÷ first", p95(here) / p95(first), "≤", 1.5))
    return figures


def p95(answers: list[Answer]) -> float:
    """The 95th percentile of the times (ms)."""
    return sorted(answer.took for answer in answers)[len(answers) * 95 // 100] * 1000


def middle(answers: list[Answer]) -> float:
    """The median time of the statements (ms), on SQLite until the first row; steadier than the total time."""
    return median(answer.in_database for answer in answers) * 1000


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        status = main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
    sys.exit(status)
