"""What the rows of a list cost: as many queries however long it is, each answered by an index."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from moderation.applications.models import Application
from moderation.archive import timeline
from moderation.archive.arrivals import Mark
from moderation.archive.index_order import following_indexes
from moderation.archive.models import Conversation, Message
from moderation.desk.conversation_rows import rows_of
from moderation.desk.read_markers import remember, unread
from moderation.goeasy.client import Group
from recall import attention
from recall.models import Recall
from tests.desk.conversations import START, fill

NANOSECONDS = START * 1_000_000


def explain(queries: CaptureQueriesContext) -> list[str]:
    """The engine's plan of each query."""
    word = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    plans = []
    with connection.cursor() as cursor:
        for captured in list(queries):
            cursor.execute(f"{word} {captured['sql']}")
            plans.append("\n".join(str(part) for row in cursor.fetchall() for part in row))
    return plans


@pytest.fixture
def groups(application: Application, moderator: Any) -> list[Conversation]:
    """Three conversations with thousands of messages and a read marker; nothing has statistics."""
    groups = [Conversation.objects.open(application, Group(f"g{number}")) for number in range(3)]
    Message.objects.bulk_create(
        Message(
            conversation=group,
            timestamp=NANOSECONDS + number if number % 100 == 0 else START + number,
            placed_at=START + number if number % 100 == 0 else None,
            message_id=f"m{number}",
            sender_id=f"user-{number % 50}",
            raw="{}",
            sha256="x",
        )
        for group in groups
        for number in range(2_000)
    )
    for group in groups:
        seen = Message.objects.filter(conversation=group).order_by("-id").values_list("id", flat=True)[500]
        remember(moderator, group, Mark(seen), since=0)
    return groups


def test_the_rows_are_read_by_index_and_later_queries_as_before(moderator: Any, groups: list[Conversation]) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no bitmaps.")
    with CaptureQueriesContext(connection) as queries:
        rows_of(moderator, groups)
    statements = [each["sql"] for each in queries]
    off, on = (statements.index(f"SET LOCAL enable_bitmapscan = {state}") for state in ("off", "on"))
    reading = [n for n, sql in enumerate(statements) if '"archive_message"' in sql]
    assert reading
    assert all(off < n < on for n in reading)
    with connection.cursor() as cursor:
        cursor.execute("SHOW enable_bitmapscan")
        assert cursor.fetchone() == ("on",)


@pytest.mark.parametrize("address", ["/conversations/", "/", "/conversations/rows/", "/conversations/?q=g"])
def test_fifty_rows_take_as_many_queries_as_five(
    mo: Client, moderator: Any, application: Application, address: str
) -> None:
    def more(numbers: range) -> None:
        for number in numbers:
            group = Conversation.objects.open(application, Group(f"g{number}"))
            fill(group, 2, start=START + number)
            remember(moderator, group, Mark(), since=0)

    more(range(5))
    with CaptureQueriesContext(connection) as few:
        assert mo.get(address).status_code == 200
    more(range(5, 50))
    with CaptureQueriesContext(connection) as many:
        assert mo.get(address).status_code == 200
    assert len(many) == len(few)


def test_an_index_answers_which_message_is_the_newest_without_statistics(groups: list[Conversation]) -> None:
    with following_indexes():
        with CaptureQueriesContext(connection) as queries:
            newest = timeline.newest_of(groups)
        ends, _messages = explain(queries)
    assert [newest[group.pk].timestamp for group in groups] == [START + 1_999] * 3
    assert "message_timeline" in ends
    assert "message_placed_by_arrival" in ends
    assert "Seq Scan on archive_message" not in ends
    assert "SCAN U0" not in ends
    assert not re.search(r"Sort\b|TEMP B-TREE", ends), ends


def test_an_index_answers_what_is_unread_without_statistics(groups: list[Conversation], moderator: Any) -> None:
    with following_indexes():
        with CaptureQueriesContext(connection) as queries:
            assert unread(moderator, groups) == dict.fromkeys((group.pk for group in groups), 100)
        (plan,) = explain(queries)
    assert "message_by_arrival" in plan
    assert "Seq Scan on archive_message" not in plan
    assert "SCAN U0" not in plan
    assert not re.search(r"Sort\b|TEMP B-TREE", plan), plan


def test_indexes_answer_which_conversations_need_action(make_recall: Callable[..., Recall]) -> None:
    for number in range(60):
        make_recall([START + number], "accepted", state="finished")
    make_recall([START + 100], "unknown", state="finished")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # So few rows are read sooner than any index.
            cursor.execute("SET LOCAL enable_seqscan = off")
    with CaptureQueriesContext(connection) as queries:
        assert len(attention.conversations_in_need()) == 1
    stopped, undecided = explain(queries)
    assert "recall_unfinished" in stopped
    assert "batch_needs_a_person" in undecided
