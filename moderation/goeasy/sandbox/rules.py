"""Validation of requests by GoEasy's documented rules (docs/goeasy-api.md)."""

from __future__ import annotations

import time
from typing import Any

MAX_TEXT_BYTES = 3 * 1024
MAX_DIGITS = 18  # what SQLite can compare
RECALL_FIELDS = {"appkey", "recaller", "userAId", "userBId", "groupId", "messages"}
SEND_FIELDS = {"appkey", "senderId", "senderData", "to", "type", "payload", "notification"}


class InvalidRequest(Exception):
    """A request breaks a rule; the message says which."""


def require(condition: object, reason: str) -> None:
    """Raise InvalidRequest with `reason` unless `condition` holds."""
    if not condition:
        raise InvalidRequest(reason)


def is_id(value: object) -> bool:
    """Whether `value` is a valid id of a user or group."""
    return isinstance(value, str) and 0 < len(value) <= 255


def conversation_of(fields: dict[str, Any]) -> dict[str, Any]:
    """Conversation named by a body or a query: two users or a group, not both."""
    users = [fields.get("userAId"), fields.get("userBId")]
    if fields.get("groupId") is not None:
        require(users == [None, None], "groupId goes with neither userAId nor userBId")
        require(is_id(fields["groupId"]), "groupId must be a string of 1 to 255 characters")
        return {"kind": "group", "group_id": fields["groupId"]}
    require(all(is_id(user) for user in users), "userAId and userBId are both required, or groupId")
    return {"kind": "private", "user_a": users[0], "user_b": users[1]}


def check_recall(body: dict[str, Any]) -> tuple[dict[str, Any], list[int], dict[str, Any] | None]:
    """Conversation, timestamps and recaller from the body of a recall."""
    require(not (unknown := set(body) - RECALL_FIELDS), f"unknown fields: {', '.join(sorted(unknown))}")
    conversation = conversation_of(body)
    timestamps = body.get("messages")
    require(isinstance(timestamps, list) and timestamps, "messages must be an array of timestamps")
    assert isinstance(timestamps, list)  # noqa: S101 - for the type checker
    require(len(timestamps) <= 20, "at most 20 messages a call")
    for timestamp in timestamps:
        require(type(timestamp) is int, "messages must be whole numbers")
        require(10**12 <= timestamp < 10**13, "messages must be timestamps in milliseconds")
    recaller = body.get("recaller")
    if "recaller" in body:
        require(isinstance(recaller, dict) and recaller, "recaller must be an object with id or data")
        assert isinstance(recaller, dict)  # noqa: S101 - for the type checker
        require(set(recaller) <= {"id", "data"}, "recaller has id and data alone")
        require("id" not in recaller or is_id(recaller["id"]), "recaller.id must be a string")
        require(isinstance(recaller.get("data", {}), dict), "recaller.data must be an object")
    return conversation, timestamps, recaller


def check_history(query: dict[str, str]) -> tuple[dict[str, Any], int, int]:
    """Conversation, limit (default 10, at most 30) and exclusive upper bound (ms) from a history query."""
    conversation = conversation_of(query)
    numbers = {
        "limit": query.get("limit", "10"),
        "lasttimestamp": query.get("lasttimestamp", str(time.time_ns() // 1_000_000 + 1)),
    }
    for name, text in numbers.items():
        require(text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS, f"{name} must be a whole number")
    limit, before = int(numbers["limit"]), int(numbers["lasttimestamp"])
    require(1 <= limit <= 30, "limit must be 1 to 30")
    return conversation, limit, before


def check_send(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Conversation and message from the body of a send."""
    require(not (unknown := set(body) - SEND_FIELDS), f"unknown fields: {', '.join(sorted(unknown))}")
    to = body.get("to")
    require(is_id(body.get("senderId")), "senderId is required")
    require(isinstance(to, dict) and to.get("type") in ("private", "group"), "to.type must be private or group")
    assert isinstance(to, dict)  # noqa: S101 - for the type checker
    require(is_id(to.get("id")), "to.id is required")
    require(isinstance(body.get("type"), str) and body["type"], "type is required")
    require(isinstance(body.get("payload"), (dict, str)) and body["payload"], "payload is required")
    if body["type"] == "text":
        payload = body["payload"]
        text = payload.get("text") if isinstance(payload, dict) else payload
        require(isinstance(text, str) and text, "a text message needs payload.text")
        assert isinstance(text, str)  # noqa: S101 - for the type checker
        require(len(text.encode("utf-8", "replace")) <= MAX_TEXT_BYTES, "text is at most 3 KB")
    message = {"type": body["type"], "senderId": body["senderId"], "payload": body["payload"]}
    if to["type"] == "group":
        message["senderData"] = body.get("senderData") or {}
        return {"kind": "group", "group_id": to["id"]}, message
    return {"kind": "private", "user_a": body["senderId"], "user_b": to["id"]}, message
