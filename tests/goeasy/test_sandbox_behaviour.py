"""The sandbox's behaviour switches and their effect on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.management import CommandError, call_command

from moderation.goeasy.sandbox import Behaviour, Sandbox

T = 1_700_000_000_000
PAIR = {"userAId": "1001", "userBId": "1002"}
CONVERSATION = {"kind": "private", "user_a": "1001", "user_b": "1002"}


@pytest.fixture
def goeasy(tmp_path: Path) -> Iterator[Sandbox]:
    """A GoEasy with five messages, of which the third and fourth were recalled."""
    with Sandbox(data=tmp_path / "s.sqlite3") as sandbox:
        sandbox.add_messages(
            CONVERSATION,
            [
                {"timestamp": T + at, "senderId": "1001", "type": "text", "payload": {"text": str(at)}}
                for at in range(5)
            ],
        )
        post(sandbox, messages=[T + 2, T + 3], recaller={"id": "mod"})
        yield sandbox


def post(sandbox: Sandbox, **fields: Any) -> requests.Response:
    body = {"appkey": sandbox.appkey, **PAIR, **fields}
    return requests.post(f"{sandbox.url}/v2/im/history/recall", json=body, timeout=5)


def history(sandbox: Sandbox, **query: Any) -> list[dict[str, Any]]:
    answer = requests.get(f"{sandbox.url}/v2/im/history", params={"appkey": sandbox.appkey, **PAIR, **query}, timeout=5)
    messages: list[dict[str, Any]] = answer.json()["content"]
    return messages


def times(messages: list[dict[str, Any]]) -> list[int]:
    return [message["timestamp"] - T for message in messages]


@pytest.mark.parametrize(
    ("behaviour", "query", "seen"),
    [
        ({}, {}, [4, 3, 2, 1, 0]),
        ({"history_drops_recalled": True}, {"limit": 2}, [4, 1]),
        ({"history_filters_after_limit": True}, {"limit": 2}, [4]),
        ({"history_filters_after_limit": True}, {"limit": 2, "lasttimestamp": T + 4}, []),
        ({"page_cap": 3}, {"limit": 30}, [4, 3, 2]),
        ({"cursor_inclusive": True}, {"lasttimestamp": T + 1}, [1, 0]),
        ({"history_oldest_first": True}, {"limit": 2}, [3, 4]),
    ],
)
def test_switches_change_the_pages_of_history(
    goeasy: Sandbox, behaviour: dict[str, Any], query: dict[str, Any], seen: list[int]
) -> None:
    goeasy.behaviour = Behaviour.parse(behaviour)
    assert times(history(goeasy, **query)) == seen


@pytest.mark.parametrize(
    ("mark", "members"),
    [
        ("true", {"recalled": True}),
        ("1", {"recalled": 1}),
        ('"true"', {"recalled": "true"}),
        ("rc", {"rc": True}),
        ("recaller", {}),
    ],
)
def test_a_switch_changes_the_mark_of_recalled_messages(goeasy: Sandbox, mark: str, members: dict[str, Any]) -> None:
    goeasy.behaviour = Behaviour(history_marks_recalled_as=mark, recalled_stripped=True)
    message = history(goeasy)[1]
    assert {name: value for name, value in message.items() if name in {"recalled", "rc"}} == members
    assert message["recaller"] == {"id": "mod"}
    assert "payload" not in message


def test_switches_change_the_format_of_messages(goeasy: Sandbox) -> None:
    goeasy.behaviour = Behaviour(timestamps_as_text=True, numeric_ids=True, payload_as_text=True)
    message = history(goeasy)[0]
    assert (message["timestamp"], message["senderId"], message["receiverId"]) == (str(T + 4), 1001, 1002)
    assert json.loads(message["payload"]) == {"text": "4"}
    goeasy.behaviour = Behaviour(abbreviated=True)
    assert {"ts", "s", "i", "mt", "p"} <= set(history(goeasy)[0])


def test_a_recall_mark_shows_after_its_delay(goeasy: Sandbox) -> None:
    goeasy.behaviour = Behaviour(mark_delay=60.0)
    post(goeasy, messages=[T + 4])
    assert "recalled" not in history(goeasy)[0]
    assert "recaller" not in history(goeasy)[0]
    goeasy.behaviour = Behaviour()
    assert history(goeasy)[0]["recalled"] is True


@pytest.mark.parametrize(
    ("behaviour", "status", "code", "effect"),
    [
        ({"recall_code": 408}, 408, 408, True),
        ({"recall_code": 408, "http_200_always": True}, 200, 408, True),
        ({"recall_reports_failures": True}, 200, 200, False),
        ({"recall_ignores_older_than": 60.0}, 200, 200, False),
    ],
)
def test_switches_change_the_answer_to_a_recall(
    goeasy: Sandbox, behaviour: dict[str, Any], status: int, code: int, effect: bool
) -> None:
    goeasy.behaviour = Behaviour.parse(behaviour)
    answer = post(goeasy, messages=[T + 4])
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert bool(goeasy.messages(CONVERSATION)[0].get("recalled")) is effect


def test_a_second_recall_can_have_its_own_code(goeasy: Sandbox) -> None:
    goeasy.behaviour = Behaviour(recall_again_code=409)
    assert post(goeasy, messages=[T + 4]).json()["code"] == 200
    assert post(goeasy, messages=[T + 4]).json()["code"] == 409


def test_switches_can_be_set_and_shown_over_http(goeasy: Sandbox) -> None:
    address = f"{goeasy.url}/sandbox/behaviour"
    assert requests.post(address, json={"page_cap": 20}, timeout=5).status_code == 200
    assert requests.post(address, json={"numeric_ids": True}, timeout=5).status_code == 200
    assert goeasy.behaviour.changed() == {"page_cap": 20, "numeric_ids": True}
    assert requests.get(address, timeout=5).json()["content"]["page_cap"] == 20
    assert requests.delete(address, timeout=5).status_code == 200
    assert goeasy.behaviour == Behaviour()


@pytest.mark.parametrize(
    "wrong",
    [{"page_cap": 0}, {"page_cap": 31}, {"page_cap": True}, {"numeric_ids": 1}, {"webhook_as": "xml"}, {"nothing": 1}],
)
def test_an_invalid_switch_is_refused_by_name(goeasy: Sandbox, wrong: dict[str, Any]) -> None:
    answer = requests.post(f"{goeasy.url}/sandbox/behaviour", json=wrong, timeout=5)
    assert answer.status_code == 400
    assert next(iter(wrong)) in answer.json()["content"]
    assert goeasy.behaviour == Behaviour()


def test_an_invalid_option_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="page_cap is a whole number from 1 to 30"):
        call_command("goeasy_sandbox", "--port", "0", "--data", str(tmp_path / "s.db"), "--page-cap", "50")


def test_the_help_lists_every_switch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("goeasy_sandbox", "--help", stdout=StringIO())
    help_text = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in help_text for name in vars(Behaviour()))
