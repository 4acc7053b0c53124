"""The form that messages take in history and in the webhook, as the sandbox's behaviour has it."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from moderation.goeasy.sandbox.behaviour import Behaviour

MARKS: dict[str, dict[str, Any]] = {
    "true": {"recalled": True},
    "1": {"recalled": 1},
    '"true"': {"recalled": "true"},
    "rc": {"rc": True},
    "recaller": {},
}
IDS = ("senderId", "receiverId", "groupId")
# As the vendor's SDK abbreviates on the wire.
SHORT = {
    "senderId": "s",
    "messageId": "i",
    "timestamp": "ts",
    "type": "mt",
    "payload": "p",
    "senderData": "d",
    "recalled": "rc",
    "receiverId": "r",
    "groupId": "g",
}


def shown(message: dict[str, Any], behaviour: Behaviour) -> dict[str, Any]:
    """`message`, stored in the documented form, in the form that GoEasy sends."""
    told = dict(message)
    if told.pop("recalled", False):
        told |= MARKS[behaviour.history_marks_recalled_as]
        if behaviour.history_marks_recalled_as == "recaller":
            told.setdefault("recaller", {"id": "somebody"})
        if behaviour.recalled_stripped:
            told.pop("payload", None)
    if behaviour.timestamps_as_text:
        told["timestamp"] = str(told["timestamp"])
    if behaviour.numeric_ids:
        told |= {name: int(told[name]) for name in IDS if is_digits(told.get(name))}
    if behaviour.payload_as_text:
        told |= {
            name: json.dumps(told[name], ensure_ascii=False)
            for name in ("payload", "senderData")
            if isinstance(told.get(name), dict)
        }
    if behaviour.abbreviated:
        told = {SHORT.get(name, name): value for name, value in told.items()}
    return told


def is_digits(value: object) -> bool:
    """Whether an id could be a whole number."""
    return isinstance(value, str) and value.isascii() and value.isdigit() and not value.startswith("0")


def delivered(messages: list[dict[str, Any]], behaviour: Behaviour) -> str:
    """The webhook's `content` for these messages, as JSON text."""
    told = [shown(message, behaviour) for message in messages]
    if behaviour.webhook_mixed_cs:
        told.append(customer_service())
    if behaviour.webhook_mixed_pubsub:
        told.append(pubsub())
    value: Any = told
    match behaviour.webhook_wraps:
        case "object" if len(told) == 1:
            value = told[0]
        case "envelope":
            value = {"type": "im", "messages": told}
        case "text":
            value = [compact(message) for message in told]
    return compact(value)


def compact(value: Any) -> str:
    """`value` as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def customer_service() -> dict[str, Any]:
    """What a customer wrote to a team; `to` is text there, and such messages cannot be recalled."""
    return {
        "type": "text",
        "messageId": secrets.token_hex(16),
        "timestamp": time.time_ns() // 1_000_000,
        "senderId": "customer-1",
        "to": "shop-9",
        "teamId": "shop-9",
        "senderData": {"name": "顾客"},
        "accepted": False,
        "payload": {"text": "有货吗"},
    }


def pubsub() -> dict[str, Any]:
    """What was published on a channel: no message of IM."""
    return {"channel": "live_room_7", "timestamp": time.time_ns() // 1_000_000, "content": '{"text":"弹幕"}'}
