"""`ingest`, which stores GoEasy's messages unchanged and once."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from moderation.archive.ingest import ingest, read_message
from moderation.archive.messages import read
from moderation.archive.messages.shown import Words
from moderation.archive.models import Conversation, Message, Sender
from moderation.goeasy.client import Group, Private

pytestmark = pytest.mark.django_db

RAW = (
    '{"type":"text", "messageId":"8f0e27a0c7e111eab347b726da4416bd","timestamp":1594958217087,'
    '"senderId":"3bb1","payload":{"text":"Hello, 世界"}}'
)


def test_a_message_is_kept_to_the_letter_with_its_sha256(private: Conversation) -> None:
    ingest(private, [RAW])
    message = Message.objects.get()
    assert message.raw == RAW
    assert message.sha256 == hashlib.sha256(RAW.encode()).hexdigest()
    assert (message.timestamp, message.sender_id, message.type) == (1594958217087, "3bb1", "text")


def test_reading_twice_adds_nothing(private: Conversation) -> None:
    without_id = RAW.replace('"messageId":"8f0e27a0c7e111eab347b726da4416bd",', "")
    assert ingest(private, [RAW, without_id, RAW]).added == 2
    assert ingest(private, [without_id, RAW]).added == 0
    assert Message.objects.count() == 2


def test_two_messages_in_one_millisecond_are_two_rows(private: Conversation) -> None:
    ingest(private, [RAW, RAW.replace("8f0e", "9f0e")])
    assert Message.objects.filter(timestamp=1594958217087).count() == 2


@pytest.mark.parametrize("with_id", [True, False])
def test_a_recall_is_recorded_and_the_text_stays(private: Conversation, with_id: bool) -> None:
    raw = RAW if with_id else RAW.replace('"messageId":"8f0e27a0c7e111eab347b726da4416bd",', "")
    ingest(private, [raw])
    recalled = raw[:-1] + ',"recalled":true,"recaller":{"id":"support","data":{"name":"客服"}}}'
    assert ingest(private, [recalled]).recalled == 1
    message = Message.objects.get()
    assert message.recalled
    assert message.raw == raw
    assert message.recaller == {"id": "support", "data": {"name": "客服"}}


def test_a_recorded_recall_is_never_undone(private: Conversation) -> None:
    ingest(private, [RAW[:-1] + ',"recalled":true}'])
    ingest(private, [RAW])
    assert Message.objects.get().recalled


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "null",
        "[]",
        "{",
        '{"timestamp":"soon"}',
        '{"timestamp":"-1594958217087"}',
        '{"ts":1594958217087,"s":"u","i":"m","mt":"text","p":"{}"}',
        '{"timestamp":1.5}',
        '{"timestamp":true}',
        "{}",
        "[" * 5000,
        '{"payload":' * 5000,
    ],
    ids=[
        "nothing",
        "null",
        "array",
        "half",
        "text time",
        "negative time",
        "abbreviated",
        "float time",
        "bool time",
        "no time",
        "deep",
        "deep object",
    ],
)
def test_an_unreadable_message_is_reported_and_the_others_are_kept(private: Conversation, raw: str) -> None:
    ingested = ingest(private, [raw, RAW])
    assert (ingested.added, ingested.unreadable) == (1, (raw,))


def test_text_that_a_database_cannot_hold_is_kept_all_the_same(private: Conversation) -> None:
    raw = r'{"timestamp":1594958217087,"messageId":"a\u0000b","senderId":"\ud800","payload":{"text":"\u0000\ud83d"}}'
    assert ingest(private, [raw]).added == 1
    message = Message.objects.get()
    assert message.raw == raw
    assert message.message_id == "a\ufffdb"


def test_an_extremely_nested_message_is_kept_and_shown_as_text(private: Conversation) -> None:
    deep = "[" * 50_000 + "]" * 50_000
    raw = f'{{"timestamp":1594958217087,"messageId":"m","senderId":"u","type":"order","payload":{deep}}}'
    assert ingest(private, [raw, RAW]).added == 2
    message = Message.objects.get(message_id="m")
    assert (message.raw, message.sender_id, message.data["payload"]) == (raw, "u", deep)
    shown = read(message.raw)
    assert isinstance(shown, Words)
    assert shown.text.startswith("[[[[")
    assert shown.cut > 0


def test_a_sender_keeps_the_newest_name(private: Conversation) -> None:
    def named(timestamp: int, name: str) -> str:
        data = {"timestamp": timestamp, "messageId": str(timestamp), "senderId": "u", "senderData": {"name": name}}
        return json.dumps(data)

    ingest(private, [named(1594958217002, "second"), named(1594958217001, "first")])
    ingest(private, [named(1594958217000, "older")])
    assert Sender.objects.get().name == "second"
    ingest(private, [named(1594958217003, "third")])
    assert Sender.objects.get().name == "third"
    ingest(private, [named(1594958217004, "second")])
    assert Sender.objects.get().name == "second"


def test_an_unchanged_sender_name_is_not_looked_up_again(
    private: Conversation,
) -> None:
    def messages_of(number: int) -> list[str]:
        about = {"name": "小林", "avatar": f"/{number // 3}.png"}
        return [
            json.dumps(
                {"timestamp": 1594958217000 + number, "messageId": str(number), "senderId": "u", "senderData": about}
            )
        ]

    with CaptureQueriesContext(connection) as queries:
        for number in range(6):
            ingest(private, messages_of(number))
    lookups = [query["sql"] for query in queries.captured_queries if 'FROM "archive_sender"' in query["sql"]]
    assert len(lookups) == 4, "at first, once it is there, when it changes, and once it has changed"
    assert Sender.objects.get().avatar == "/1.png"


def test_an_avatar_that_a_message_leaves_out_stays(private: Conversation) -> None:
    for at, about in ((1594958217001, {"name": "小林", "avatar": "/a.png"}), (1594958217002, {"name": "林"})):
        data = {
            "timestamp": at,
            "messageId": str(at),
            "senderId": "u",
            "senderData": about,
        }
        ingest(private, [json.dumps(data)])
    assert (Sender.objects.get().name, Sender.objects.get().avatar) == ("林", "/a.png")


def test_a_pair_in_either_order_is_one_conversation(application: Any) -> None:
    first = Conversation.objects.open(application, Private("b", "a"))
    assert Conversation.objects.open(application, Private("a", "b")) == first
    assert (first.user_a, first.user_b) == ("a", "b")


def test_the_database_knows_that_a_pair_is_one(application: Any) -> None:
    Conversation.objects.open(application, Private("Äb", "a:/ 🐼"))
    for user_a, user_b in (("a:/ 🐼", "Äb"), ("Äb", "a:/ 🐼")):
        with pytest.raises(IntegrityError), transaction.atomic():
            Conversation.objects.create(application=application, kind="private", user_a=user_a, user_b=user_b)


@pytest.mark.parametrize(
    "names",
    [
        {"kind": "private", "user_a": "a"},
        {"kind": "private", "user_a": "a", "user_b": "b", "group_id": "g"},
        {"kind": "group"},
        {"kind": "group", "group_id": "g", "user_a": "a"},
        {"kind": "both", "group_id": "g"},
    ],
)
def test_the_database_refuses_what_names_neither_a_pair_nor_a_group(application: Any, names: dict[str, str]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Conversation.objects.create(application=application, **names)


def test_ids_are_case_sensitive(application: Any) -> None:
    assert Conversation.objects.open(application, Group("G")) != Conversation.objects.open(application, Group("g"))


@given(a=st.text(min_size=1, max_size=20), b=st.text(min_size=1, max_size=20))
def test_the_conversation_key_is_the_same_whichever_side_comes_first(a: str, b: str) -> None:
    from moderation.archive.models import pair

    assert pair(a, b) == pair(b, a)
    assert set(pair(a, b)) == {a, b}


@given(raw=st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_any_text_is_read_or_rejected_without_an_error(raw: str) -> None:
    message = read_message(raw)
    assert message is None or message.timestamp > 0
