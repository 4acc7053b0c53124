"""The demo's conversations hold what they promise."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from moderation.goeasy.client import Group, Private
from moderation.goeasy.sandbox import Sandbox
from moderation.goeasy.sandbox.seed import DEMO_CONVERSATIONS, SPAM_SENDER, TOWN_SQUARE, demo

NOW = 1_795_400_000_000
Made = list[tuple[dict[str, str], list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def made() -> Made:
    return list(demo(now_ms=NOW, media_base="http://127.0.0.1:8001/sandbox/media"))


def everything(made: Made) -> list[dict[str, Any]]:
    return [message for _conversation, messages in made for message in messages]


def test_it_is_the_same_every_time(made: Made) -> None:
    assert list(demo(now_ms=NOW, media_base="http://127.0.0.1:8001/sandbox/media")) == made


def test_there_are_enough_conversations_and_messages_of_both_kinds(made: Made) -> None:
    assert len(made) >= 12
    assert {conversation["kind"] for conversation, _ in made} == {"private", "group"}
    assert len(everything(made)) >= 2_000
    assert max(len(messages) for _, messages in made) >= 1_200
    named = [
        Group(conversation["group_id"])
        if conversation["kind"] == "group"
        else Private(conversation["user_a"], conversation["user_b"])
        for conversation, _ in made
    ]
    assert named == DEMO_CONVERSATIONS


def test_every_type_of_message_is_there(made: Made) -> None:
    types = Counter(message["type"] for message in everything(made))
    assert {"text", "image", "audio", "video", "file", "order"} <= set(types)


def test_the_spam_wave_runs_through_six_conversations_within_minutes(made: Made) -> None:
    waves = {
        json.dumps(conversation): [m["timestamp"] for m in messages if m["senderId"] == SPAM_SENDER]
        for conversation, messages in made
    }
    hit = {name: times for name, times in waves.items() if times}
    assert len(hit) == 6
    assert max(map(len, hit.values())) > 40
    assert all(max(times) - min(times) < 15 * 60_000 for times in hit.values())


def test_two_messages_share_a_millisecond_and_some_are_recalled(made: Made) -> None:
    square = next(messages for conversation, messages in made if conversation.get("group_id") == TOWN_SQUARE)
    assert 2 in Counter(message["timestamp"] for message in square).values()
    recalled = [message for message in everything(made) if message.get("recalled")]
    assert len(recalled) > 5
    assert all(message["recaller"]["id"] for message in recalled)


def test_ids_and_texts_are_as_odd_as_real_ones(made: Made) -> None:
    ids = " ".join(json.dumps(conversation, ensure_ascii=False) for conversation, _ in made)
    assert all(mark in ids for mark in (":", "/", "user 42", "🐼"))
    payloads = [message["payload"] for message in everything(made)]
    texts = [payload["text"] for payload in payloads if isinstance(payload, dict) and "text" in payload]
    assert any("<script>" in text for text in texts)
    assert any("\u202e" in text for text in texts)
    assert any(len(text.encode()) > 2_900 for text in texts)
    assert any(isinstance(payload, str) and not payload.startswith("{") for payload in payloads)
    assert any(isinstance(payload, str) and payload.startswith("{") for payload in payloads)
    assert all(
        "senderData" not in message
        for conversation, messages in made
        if conversation["kind"] == "private"
        for message in messages
    )


def test_everything_lies_within_the_last_day_and_before_now(made: Made) -> None:
    times = [message["timestamp"] for message in everything(made)]
    assert NOW - 24 * 3600 * 1000 < min(times) <= max(times) <= NOW


def test_a_sandbox_starts_with_it_and_does_not_add_it_twice(tmp_path: Any) -> None:
    square = {"kind": "group", "group_id": TOWN_SQUARE}
    with Sandbox(data=tmp_path / "s.sqlite3", seed="demo") as first:
        count = len(first.messages(square))
    with Sandbox(data=tmp_path / "s.sqlite3", seed="demo") as second:
        assert len(second.messages(square)) == count >= 1_200
