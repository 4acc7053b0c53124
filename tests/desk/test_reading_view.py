"""The timeline reads like a chat: one header for a sender's messages, short times, the exact one at hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from moderation.archive.models import Conversation, Message

FIRST = 1_700_000_000_000
MINUTE = 60_000


@pytest.fixture
def reader(client: Client, moderator: Any) -> Client:
    client.force_login(moderator)
    return client


def rows_of(client: Client, conversation: Conversation, **query: Any) -> list[tuple[int, bool]]:
    """The timestamp of each row, and whether it stands under the header of the one before."""
    page = client.get(conversation.get_absolute_url(), query).content.decode()
    found = re.findall(r'<li class="message([^"]*)".*?data-timestamp="(\d+)"', page, re.DOTALL)
    return [(int(timestamp), "continues" in classes) for classes, timestamp in found]


def test_one_senders_messages_within_five_minutes_have_one_header(
    reader: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    times = [FIRST, FIRST + MINUTE, FIRST + 6 * MINUTE - 1, FIRST + 11 * MINUTE - 1]
    for at in times:
        make_message(private, at)
    assert rows_of(reader, private) == [(times[0], False), (times[1], True), (times[2], True), (times[3], False)]


def test_another_sender_begins_a_header(
    reader: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    for number, sender in enumerate(["user-a", "user-b", "user-a"]):
        make_message(private, FIRST + number, senderId=sender)
    assert [continues for _at, continues in rows_of(reader, private)] == [False, False, False]


def test_another_name_begins_a_header_although_the_id_is_the_same(
    reader: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    for number, name in enumerate(["老王", "官方客服"]):
        make_message(private, FIRST + number, senderData={"name": name})
    assert [continues for _at, continues in rows_of(reader, private)] == [False, False]


def test_another_day_begins_a_header(
    reader: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    # Two seconds before and after midnight of 2023-11-15, UTC.
    for at in (1_700_006_398_000, 1_700_006_402_000):
        make_message(private, at)
    assert [continues for _at, continues in rows_of(reader, private)] == [False, False]


def test_a_message_without_a_plausible_time_has_its_own_header(
    reader: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    make_message(private, FIRST)
    make_message(private, 10**18)
    assert [continues for _at, continues in rows_of(reader, private)] == [False, False]


def test_a_row_shows_hour_and_minute_and_has_the_exact_time_at_hand(
    reader: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    make_message(private, FIRST + 123)
    page = reader.get(private.get_absolute_url()).content.decode()
    assert re.search(r'title="[^"]*22:13:20\.123 UTC\+\d\d:\d\d · 1700000000123">\d\d:\d\d<', page)


def test_every_row_names_its_sender_also_under_a_header(
    reader: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    for number in range(3):
        make_message(private, FIRST + number, senderData={"name": "Lin"})
    page = reader.get(private.get_absolute_url()).content.decode()
    assert len(re.findall(r'<bdi class="name">Lin</bdi>', page)) == 3
