"""Where messages without a plausible time stand in a search, on a sender's page and in a selection: as they arrived."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from moderation.archive import timeline
from moderation.archive.ingest import ingest
from moderation.archive.models import Conversation, Message
from moderation.desk.views import sender
from moderation.search import query
from moderation.search.query import Wanted

pytestmark = pytest.mark.django_db

Make = Callable[..., Message]
NANOSECONDS, SECONDS = 1795718732695123456, 1795718732


@pytest.fixture
def mixed(group: Conversation, make_message: Make) -> list[Message]:
    """Messages in the order in which they belong, the newest first; three have no plausible time."""
    now = int(time.time() * 1000)
    times = (now + 3_600_000, now + 3_599_999, SECONDS, NANOSECONDS + 1, NANOSECONDS, now - 3_600_000, now - 7_200_000)
    return [
        make_message(group, timestamp, payload={"text": "red offer"}, senderData={"name": f"name {timestamp}"})
        for timestamp in reversed(times)
    ][::-1]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every text is frequent: messages are looked through, one or two at a time."""
    monkeypatch.setattr(query, "FEW_CANDIDATES", 0)
    monkeypatch.setattr(query, "MAX_CANDIDATES", 0)
    monkeypatch.setattr(query, "PARTS", (1, 2, 20))
    yield


def pages(wanted: Wanted) -> list[int]:
    """The ids of what a search finds, two at a time."""
    pks: list[int] = []
    before = None
    while True:
        page = query.search(wanted, before=before, limit=2)
        pks += [message.pk for message in page.messages()]
        if not page.older:
            return pks
        before = timeline.read_key(page.older)


WANTED = pytest.mark.parametrize(
    "fields",
    [
        {"text": "red"},
        {"text": "red", "types": ["text"]},
        {},
        {"senders": ["user-a"]},
        {"text": "offer", "senders": ["user-a", "user-b"], "kinds": ["group"]},
    ],
)


@WANTED
def test_hits_stand_where_the_timeline_has_them(mixed: list[Message], fields: dict[str, Any]) -> None:
    expected = [message.pk for message in timeline.page(mixed[0].conversation)][::-1]
    assert expected == [message.pk for message in mixed]
    assert pages(Wanted(**fields)) == expected


@WANTED
def test_frequent_texts_come_in_that_order_too(mixed: list[Message], few: None, fields: dict[str, Any]) -> None:
    assert pages(Wanted(**fields)) == [message.pk for message in mixed]


@pytest.mark.parametrize("text", ["", "red"])
def test_a_span_holds_what_arrived_in_it_without_a_plausible_time(mixed: list[Message], text: str) -> None:
    arrived = mixed[2:5]
    first, last = arrived[-1].placed_at, arrived[0].placed_at
    assert first and last
    assert pages(Wanted(text=text, since=first, until=last)) == [message.pk for message in arrived]
    assert pages(Wanted(text=text, since=last + 1)) == [message.pk for message in mixed[:2]]


def test_a_senders_page_shows_the_latest_by_when_they_were_sent_or_arrived(
    client: Client, moderator: Any, mixed: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(moderator)
    monkeypatch.setattr(sender, "MAX_EXAMINED", 3)
    page = client.get(reverse("sender", args=["default"]), {"id": "user-a"})
    assert page.context["names"] == [f"name {message.timestamp}" for message in mixed[:3]]
    assert [hit.message.pk for hit in page.context["hits"]] == [message.pk for message in mixed]


def test_a_selection_that_is_too_long_keeps_the_newest(mixed: list[Message]) -> None:
    conversation = mixed[0].conversation
    assert timeline.select(conversation, sender="user-a", limit=3) == mixed[2::-1]


def test_the_jump_page_lists_the_newest_of_one_id_first(
    client: Client, moderator: Any, private: Conversation, group: Conversation
) -> None:
    client.force_login(moderator)
    now = int(time.time() * 1000)
    for conversation, timestamp in ((group, NANOSECONDS), (private, now + 3_600_000)):
        ingest(conversation, [f'{{"messageId": "m", "timestamp": {timestamp}, "senderId": "u", "type": "text"}}'])
    page = client.get(reverse("jump"), {"q": "m"}).content.decode()
    assert page.index(private.get_absolute_url()) < page.index(group.get_absolute_url())


INDEXES = [
    (Wanted(), "message_by_timestamp", "any_message_placed_by_arrival"),
    (Wanted(senders=["user-7"]), "message_by_sender", "sender_placed_by_arrival"),
    (Wanted(text="e", senders=["user-7"]), "message_by_sender", "sender_placed_by_arrival"),
]


@pytest.mark.parametrize(("wanted", "by_time", "by_arrival"), INDEXES)
@pytest.mark.parametrize("before", [None, (1_700_000_000_500, 1)])
def test_an_index_answers_each_part_of_a_search(
    group: Conversation, wanted: Wanted, by_time: str, by_arrival: str, before: timeline.Key | None
) -> None:
    Message.objects.bulk_create(
        Message(
            conversation=group,
            timestamp=NANOSECONDS + number if number % 100 == 0 else 1_700_000_000_000 + number,
            placed_at=1_700_000_000_000 + number if number % 100 == 0 else None,
            message_id=f"m{number}",
            sender_id=f"user-{number % 50}",
            raw="{}",
            sha256="x",
        )
        for number in range(3_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE archive_message")
        if connection.vendor == "postgresql":
            # So few rows are read sooner than any index.
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
            # Nor does an index's order save anything where so few rows have to be sorted.
            cursor.execute("SET LOCAL enable_sort = off")
        with CaptureQueriesContext(connection) as queries:
            query.search(wanted, before=before, limit=5)
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        plans = []
        for captured in queries:
            cursor.execute(f"{explain} {captured['sql']}")
            plans.append(" ".join(str(part) for row in cursor.fetchall() for part in row))
    for index, plan in zip((by_time, by_arrival) * (len(plans) // 2), plans, strict=True):
        assert f"{index}" in plan
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan
