"""New messages since a page was made, whatever their time and in whichever order transactions commit."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from moderation.archive import arrivals, retention, timeline
from moderation.archive.arrivals import MAX_NEWS, Mark, mark_of, news_since, read_mark
from moderation.archive.ingest import ingest
from moderation.archive.models import Conversation, Message, Sender
from moderation.search import query

START = 1795000000000
IDS = st.integers(1, 10**18 - 1)


def say(conversation: Conversation, *timestamps: int) -> list[int]:
    """Make messages with these times, in this order of arrival. Returns their ids."""
    pks = []
    for number, timestamp in enumerate(timestamps):
        name = f"{timestamp}-{number}-{Message.objects.count()}"
        ingest(conversation, [json.dumps({"timestamp": timestamp, "messageId": name, "senderId": "u"})])
        pks.append(Message.objects.get(message_id=name).pk)
    return pks


@given(st.integers(0, 10**12), st.sets(st.integers(1, 10**6), max_size=40), st.sets(IDS, max_size=20))
def test_a_mark_is_read_as_it_was_written(floor: int, steps: set[int], missing: set[int]) -> None:
    mark = Mark(floor, frozenset(floor + step for step in steps), frozenset(missing))
    assert read_mark(str(mark)) == mark


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2",
        "a.b.c",
        "1..x",
        "-1..",
        "1.2--3.",
        "1.1-99999.",
        "1..9999999999999999999",
        "１..",
        "1...",
        "1._-.",
    ],
)
def test_an_invalid_mark_is_read_as_none(text: str) -> None:
    assert read_mark(text) is None


def test_a_late_message_is_new_although_it_is_older_than_the_newest(private: Conversation) -> None:
    say(private, START, START + 1000)
    mark = mark_of(private)
    (late,) = say(private, START + 500)
    assert news_since(private, mark, start=START).pks == [late]


def test_a_message_that_is_older_than_what_is_loaded_is_no_news(private: Conversation) -> None:
    say(private, START)
    mark = mark_of(private)
    say(private, START - 1)
    assert news_since(private, mark, start=START).pks == []
    assert len(news_since(private, mark, start=START - 1).pks) == 1


def test_another_conversation_brings_no_news(private: Conversation, group: Conversation) -> None:
    say(private, START)
    mark = mark_of(private)
    say(group, START + 1)
    assert news_since(private, mark, start=0).pks == []


def test_news_that_was_not_shown_stays_news_until_it_is_shown(private: Conversation) -> None:
    say(private, START)
    mark = mark_of(private)
    first = say(private, START + 1)
    mark = news_since(private, mark, start=0).mark
    second = say(private, START + 2)
    news = news_since(private, mark, start=0)
    assert news.pks == first + second
    news = news_since(private, news.mark, start=0, shown=first)
    assert news.pks == second
    assert news_since(private, news.mark, start=0, shown=second).pks == []
    assert news_since(private, news_since(private, news.mark, start=0, shown=second).mark, start=0).pks == []


def test_no_message_is_lost_beyond_the_limit_of_counting(private: Conversation) -> None:
    mark = mark_of(private)
    pks = say(private, *range(START, START + MAX_NEWS + 30))
    news = news_since(private, mark, start=0)
    assert news.pks == pks[: MAX_NEWS + 1]
    news = news_since(private, news.mark, start=0, shown=pks[:MAX_NEWS])
    assert news.pks == pks[MAX_NEWS:]


def test_an_old_mark_keeps_only_its_position(private: Conversation) -> None:
    pks = say(private, *range(START, START + 5))
    Message.objects.update(seen_at=timezone.now() - arrivals.OVERLAP - timedelta(seconds=1))
    assert mark_of(private) == Mark(pks[-1])


def test_a_mark_stays_short_enough_for_an_address(private: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "MAX_REMEMBERED", 4)
    pks = say(private, *range(START, START + 9))
    assert mark_of(private) == Mark(pks[-4], frozenset(pks[-3:]))


def test_looking_for_news_takes_as_many_queries_however_much_there_is(private: Conversation) -> None:
    mark = mark_of(private)
    for count in (1, 50):
        say(private, *range(START, START + count))
        with CaptureQueriesContext(connection) as queries:
            news_since(private, mark, start=0)
        assert len(queries) == 2


@pytest.mark.django_db(transaction=True)
def test_a_lower_id_that_is_committed_later_is_announced_once(private: Conversation) -> None:
    """Ids are allocated before the commit, so on PostgreSQL the first id may become visible last."""
    if connection.vendor == "sqlite":
        pytest.skip("On SQLite writers take turns: ids are given in the order of the commits.")
    say(private, START + 10_000)
    Message.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    written, may_commit = threading.Event(), threading.Event()
    early: list[int] = []

    def slow_writer() -> None:
        try:
            with transaction.atomic():
                early.extend(say(private, START + 1))
                written.set()
                assert may_commit.wait(20)
        finally:
            connection.close()

    thread = threading.Thread(target=slow_writer)
    thread.start()
    try:
        assert written.wait(20)
        (quick,) = say(private, START + 2)
        assert early[0] < quick
        mark = mark_of(private)
        assert news_since(private, mark, start=0).pks == []
    finally:
        may_commit.set()
        thread.join(20)
    # Write and read the mark, as a page does.
    news = news_since(private, read_mark(str(mark)) or Mark(), start=0)
    assert news.pks == early
    assert news_since(private, news.mark, start=0, shown=early).pks == []


# Places of messages


def at_arrival(message: Message) -> bool:
    return message.placed_at is not None and abs(message.placed_at - message.seen_at.timestamp() * 1000) <= 1


@pytest.mark.parametrize(
    "timestamp",
    [1795718732695123456, 1795718732695123, 1795718732, 1, 1_262_303_999_999, 2**63 - 1],
    ids=["nanoseconds", "microseconds", "seconds", "one", "2009", "the largest"],
)
def test_a_time_that_is_not_plausible_places_a_message_where_it_arrived(
    private: Conversation, make_message: Callable[..., Message], timestamp: int
) -> None:
    message = make_message(private, timestamp)
    assert message.timestamp == timestamp
    assert at_arrival(message)
    private.refresh_from_db()
    assert private.last_timestamp == message.placed_at


def now_ms() -> int:
    return int(timezone.now().timestamp() * 1000)


def test_a_day_ahead_is_plausible_and_more_is_not(private: Conversation, make_message: Callable[..., Message]) -> None:
    now = now_ms()
    day = 86_400_000
    assert make_message(private, now + day - 5_000).placed_at is None
    assert at_arrival(make_message(private, now + day + 60_000))
    assert make_message(private, 1_262_304_000_000).placed_at is None


def test_a_name_from_a_message_dated_ahead_gives_way_to_the_next(
    group: Conversation, make_message: Callable[..., Message]
) -> None:
    names = ((1795718732695123456, "bogus"), (now_ms() + 3_600_000, "ahead"), (None, "right"))
    for timestamp, name in names:
        # A millisecond later than the previous name.
        time.sleep(0.005)
        make_message(
            group,
            timestamp or now_ms(),
            senderId="u",
            senderData={"name": name},
            groupId="group-1",
            groupData={"name": f"group {name}"},
        )
        group.refresh_from_db()
        assert (Sender.objects.get(user_id="u").name, group.name) == (name, f"group {name}")


def test_retention_takes_a_message_without_a_plausible_time_to_be_as_old_as_its_arrival(
    private: Conversation, make_message: Callable[..., Message]
) -> None:
    seconds, nanoseconds = make_message(private, 1795718732), make_message(private, 1795718732695123456)
    retention.delete_older(private.pk, now_ms() - 60_000)
    assert set(Message.objects.all()) == {seconds, nanoseconds}
    retention.delete_older(private.pk, now_ms() + 60_000)
    assert not Message.objects.exists()


def test_pages_hold_every_message_once_where_times_are_not_plausible(
    private: Conversation, make_message: Callable[..., Message]
) -> None:
    times = [START, 1795718732695123456, START + 1, 5, 1795718732, START + 2, 1795718732695123457]
    made = [make_message(private, at) for at in times]
    expected = [made[0], made[2], made[5], made[1], made[3], made[4], made[6]]
    back: list[Message] = []
    key = None
    while page := timeline.page(private, before=key, limit=2):
        back, key = page + back, (page[0].sort_time, page[0].pk)
    assert back == expected
    forth: list[Message] = []
    key = (0, 0)
    while page := timeline.page(private, after=key, limit=2):
        forth, key = forth + page, (page[-1].sort_time, page[-1].pk)
    assert forth == expected


def test_a_search_goes_on_after_a_time_of_19_digits(
    private: Conversation, make_message: Callable[..., Message]
) -> None:
    for number in range(4):
        make_message(private, 1795718732695123456 + number)
    matches = query.search(query.Wanted(senders=["user-a"]), limit=2)
    older = query.search(query.Wanted(senders=["user-a"]), before=timeline.read_key(matches.older), limit=2)
    assert not set(matches.keys) & set(older.keys)
    assert len(older.keys) == 2
