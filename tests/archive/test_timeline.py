"""Paging through a conversation by key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from moderation.archive import timeline
from moderation.archive.models import Conversation, Message

START = 1795000000000


@pytest.fixture
def crowd(private: Conversation, group: Conversation, make_message: Callable[..., Message]) -> list[Message]:
    """25 messages, three of them in one millisecond; and a message of another conversation, which must not appear."""
    for number in range(3):
        make_message(group, START + number)
    times = [*range(START, START + 10), START + 10, START + 10, START + 10, *range(START + 11, START + 23)]
    return [make_message(private, at, senderId=f"user-{index % 3}") for index, at in enumerate(times)]


def test_the_newest_come_first_and_stand_in_order(private: Conversation, crowd: list[Message]) -> None:
    assert timeline.page(private, limit=4) == crowd[-4:]


@pytest.mark.parametrize("limit", [1, 2, 7, 12])
def test_paging_up_shows_every_message_once(private: Conversation, crowd: list[Message], limit: int) -> None:
    shown = timeline.page(private, limit=limit)
    while page := timeline.page(private, before=(shown[0].timestamp, shown[0].pk), limit=limit):
        shown = page + shown
    assert shown == crowd


@pytest.mark.parametrize("limit", [1, 2, 7, 12])
def test_paging_down_shows_every_message_once(private: Conversation, crowd: list[Message], limit: int) -> None:
    shown: list[Message] = []
    key = (0, 0)
    while page := timeline.page(private, after=key, limit=limit):
        shown += page
        key = (page[-1].timestamp, page[-1].pk)
    assert shown == crowd


def test_a_page_is_two_queries_that_neither_count_nor_skip(private: Conversation, crowd: list[Message]) -> None:
    with CaptureQueriesContext(connection) as queries:
        timeline.page(private, before=(START + 12, 10**9), limit=5)
    # One for messages with a plausible time, one for those that are placed by their arrival.
    assert len(queries) == 2
    assert not any(word in query["sql"] for query in queries for word in ("OFFSET", "COUNT"))


def test_a_key_is_written_and_read_again(crowd: list[Message]) -> None:
    assert timeline.read_key(timeline.key_of(crowd[0])) == (crowd[0].timestamp, crowd[0].pk)


@pytest.mark.parametrize(
    "text", ["", "-", "1", "1-", "-1", "a-b", "1-2-3", "１-2", "9" * 19 + "-1", "1-" + "9" * 20, "1.5-2", " 1-2"]
)
def test_an_invalid_key_is_read_as_none(text: str) -> None:
    assert timeline.read_key(text) is None


def test_all_from_a_sender_stay_within_the_conversation(private: Conversation, crowd: list[Message]) -> None:
    assert timeline.select(private, sender="user-1", limit=100) == crowd[1::3]
    assert timeline.select(private, sender="nobody", limit=100) == []


def test_a_span_of_time_includes_both_ends(private: Conversation, crowd: list[Message]) -> None:
    selected = timeline.select(private, since=START + 10, until=START + 11, limit=100)
    assert [message.timestamp - START for message in selected] == [10, 10, 10, 11]


def test_a_selection_that_is_too_large_keeps_the_newest(private: Conversation, crowd: list[Message]) -> None:
    assert timeline.select(private, since=0, limit=3) == crowd[-3:]


def test_timestamps_shared_by_several_messages_are_reported(private: Conversation, crowd: list[Message]) -> None:
    timestamps = [message.timestamp for message in crowd]
    assert timeline.sharing(private, timestamps) == {START + 10: 3}
    assert timeline.sharing(private, []) == {}
    assert timeline.sharing(private, [*range(START - 2_000, START), START + 10]) == {START + 10: 3}


def test_senders_are_loaded_in_one_query(
    private: Conversation, make_message: Callable[..., Message], application: Any
) -> None:
    for name in ("Ada", "Grace"):
        make_message(private, START, senderId=name.lower(), senderData={"name": name, "avatar": "/a.png"})
    with CaptureQueriesContext(connection) as queries:
        senders = timeline.senders(application, ["ada", "grace", "nobody", "ada"])
    assert {user: sender.name for user, sender in senders.items()} == {"ada": "Ada", "grace": "Grace"}
    assert len(queries) == 1
