"""The demo conversations have the content that the demo and the tests rely on."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from moderation.archive.messages import TYPES
from moderation.goeasy.client import Group, Private
from moderation.goeasy.sandbox import Sandbox
from moderation.goeasy.sandbox.media import serve
from moderation.goeasy.sandbox.seed import DEMO_CONVERSATIONS, SPAM_SENDER, TOWN_SQUARE, demo

NOW = 1_795_400_000_000
MEDIA = "http://127.0.0.1:8001/sandbox/media"
Conversations = list[tuple[dict[str, str], list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def conversations() -> Conversations:
    return list(demo(now_ms=NOW, media_base=MEDIA))


def town_square(conversations: Conversations) -> list[dict[str, Any]]:
    return next(messages for conversation, messages in conversations if conversation.get("group_id") == TOWN_SQUARE)


def all_messages(conversations: Conversations) -> list[dict[str, Any]]:
    return [message for _conversation, messages in conversations for message in messages]


def test_the_content_is_deterministic(conversations: Conversations) -> None:
    assert list(demo(now_ms=NOW, media_base=MEDIA)) == conversations


def test_both_kinds_have_enough_conversations_and_messages(conversations: Conversations) -> None:
    assert len(conversations) >= 14
    assert {conversation["kind"] for conversation, _ in conversations} == {"private", "group"}
    assert len(all_messages(conversations)) >= 2_400
    assert len(town_square(conversations)) >= 1_200
    named = [
        Group(conversation["group_id"])
        if conversation["kind"] == "group"
        else Private(conversation["user_a"], conversation["user_b"])
        for conversation, _ in conversations
    ]
    assert named == DEMO_CONVERSATIONS


def test_every_message_type_occurs(conversations: Conversations) -> None:
    types = Counter(message["type"] for message in all_messages(conversations))
    missing = set(TYPES) - set(types)
    assert not missing, f"The demo has no message of {missing}: moderation/goeasy/sandbox/seed.py makes them."
    assert set(types) - set(TYPES) == {"order", "location", "red-packet"}, "types of an application's own"


def test_the_spam_wave_hits_six_conversations_within_minutes(conversations: Conversations) -> None:
    waves = {
        json.dumps(conversation): [m["timestamp"] for m in messages if m["senderId"] == SPAM_SENDER]
        for conversation, messages in conversations
    }
    hit = {name: times for name, times in waves.items() if times}
    assert len(hit) == 6
    assert sorted(map(len, hit.values()))[-2] < 10
    square = hit.pop(json.dumps({"kind": "group", "group_id": TOWN_SQUARE}))
    assert 40 <= len(square) <= 50
    assert all(max(times) - min(times) < 10 * 60_000 for times in (square, *hit.values()))
    senders = [m["senderData"] for m in town_square(conversations) if m["senderId"] == SPAM_SENDER]
    assert {data["name"] for data in senders} == {"稳赚小助手"}


def test_two_messages_share_a_millisecond_and_some_are_recalled(conversations: Conversations) -> None:
    twins = [time for time, count in Counter(m["timestamp"] for m in town_square(conversations)).items() if count == 2]
    assert any(
        len({m["senderId"] for m in town_square(conversations) if m["timestamp"] == time}) == 2 for time in twins
    )
    recalled = [message for message in all_messages(conversations) if message.get("recalled")]
    assert len(recalled) > 5
    assert all(message["recaller"]["id"] for message in recalled)
    assert len({message["messageId"] for message in all_messages(conversations)}) == len(all_messages(conversations))


def test_ids_and_texts_are_as_irregular_as_real_ones(conversations: Conversations) -> None:
    ids = " ".join(json.dumps(conversation, ensure_ascii=False) for conversation, _ in conversations)
    assert all(mark in ids for mark in (":", "/", "user 42", "🐼"))
    payloads = [message["payload"] for message in all_messages(conversations)]
    texts = [payload["text"] for payload in payloads if isinstance(payload, dict) and "text" in payload]
    assert any("<script>" in text for text in texts)
    assert any("\u202e" in text for text in texts)
    assert 2_900 < max(len(text.encode()) for text in texts) <= 3 * 1024
    strings = [payload for payload in payloads if isinstance(payload, str)]
    assert sum(string.startswith("{") and "text" in json.loads(string) for string in strings) > 2
    assert sum(not string.startswith("{") for string in strings) > 2
    assert all(
        ("senderData" in message) is (conversation["kind"] == "group")
        for conversation, messages in conversations
        for message in messages
    )


def test_private_messages_come_from_the_two_users(conversations: Conversations) -> None:
    for conversation, messages in conversations:
        if conversation["kind"] == "private":
            assert {message["senderId"] for message in messages} <= {conversation["user_a"], conversation["user_b"]}


def test_the_sandbox_serves_every_attachment_but_the_malformed_one(conversations: Conversations) -> None:
    attached = [m for m in all_messages(conversations) if m["type"] in {"image", "audio", "file", "video"}]
    (wrong,) = [m for m in attached if "url" not in m["payload"].get("video", m["payload"])]
    assert wrong["type"] == "image"
    endings = {
        (m["type"], m["payload"].get("video", m["payload"])["url"].removeprefix(MEDIA).rpartition(".")[2])
        for m in attached
        if m is not wrong
    }
    assert endings == {("image", "png"), ("audio", "wav"), ("file", "pdf"), ("video", "mp4")}
    assert [serve(f"x.{ending}")[0] for ending in ("png", "wav", "pdf", "mp4")] == [200, 200, 200, 404]


def test_all_times_lie_within_the_last_twenty_hours(conversations: Conversations) -> None:
    times = [message["timestamp"] for message in all_messages(conversations)]
    assert min(times) >= NOW - 20 * 3600 * 1000
    assert max(times) == NOW - 60_000


def test_a_sandbox_is_seeded_only_once(tmp_path: Any) -> None:
    square = {"kind": "group", "group_id": TOWN_SQUARE}
    with Sandbox(data=tmp_path / "s.sqlite3", seed="demo") as first:
        count = len(first.messages(square))
    with Sandbox(data=tmp_path / "s.sqlite3", seed="demo") as second:
        assert len(second.messages(square)) == count >= 1_200
