"""Conversations and messages for the tests of the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
T = 1_700_000_000_000
PAIR = {"userAId": "a", "userBId": "b"}
CONVERSATION = {"kind": "private", "user_a": "a", "user_b": "b"}
GROUP = {"kind": "group", "group_id": "g"}
ACKNOWLEDGEMENT = b'{"code":200,"content":"success"}'


def text(timestamp: int, sender: str = "a") -> dict[str, Any]:
    return {"timestamp": timestamp, "senderId": sender, "type": "text", "payload": {"text": str(timestamp)}}
