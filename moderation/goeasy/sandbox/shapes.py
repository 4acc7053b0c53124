"""Format of messages in history and in the webhook, according to the behaviour switches."""

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
# Short names that the vendor's SDK uses on the wire.
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


def render_message(message: dict[str, Any], behaviour: Behaviour) -> dict[str, Any]:
    """Convert a stored message, which has the documented format, to the format that GoEasy sends."""
    rendered = dict(message)
    if rendered.pop("recalled", False):
        rendered |= MARKS[behaviour.history_marks_recalled_as]
        if behaviour.history_marks_recalled_as == "recaller":
            rendered.setdefault("recaller", {"id": "somebody"})
        if behaviour.recalled_stripped:
            rendered.pop("payload", None)
    if behaviour.timestamps_as_text:
        rendered["timestamp"] = str(rendered["timestamp"])
    if behaviour.numeric_ids:
        rendered |= {name: int(rendered[name]) for name in IDS if is_digits(rendered.get(name))}
    if behaviour.payload_as_text:
        rendered |= {
            name: json.dumps(rendered[name], ensure_ascii=False)
            for name in ("payload", "senderData")
            if isinstance(rendered.get(name), dict)
        }
    if behaviour.abbreviated:
        rendered = {SHORT.get(name, name): value for name, value in rendered.items()}
    return rendered


def is_digits(value: object) -> bool:
    """Whether an id can be sent as a number."""
    return isinstance(value, str) and value.isascii() and value.isdigit() and not value.startswith("0")


def webhook_content(messages: list[dict[str, Any]], behaviour: Behaviour) -> str:
    """The webhook's `content` for these messages, as JSON."""
    rendered = [render_message(message, behaviour) for message in messages]
    if behaviour.webhook_mixed_cs:
        rendered.append(customer_service())
    if behaviour.webhook_mixed_pubsub:
        rendered.append(pubsub())
    value: Any = rendered
    match behaviour.webhook_wraps:
        case "object" if len(rendered) == 1:
            value = rendered[0]
        case "envelope":
            value = {"type": "im", "messages": rendered}
        case "text":
            value = [compact(message) for message in rendered]
    return compact(value)


def compact(value: Any) -> str:
    """`value` as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def customer_service() -> dict[str, Any]:
    """A customer-service message; its `to` is a string, and it cannot be recalled."""
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
    """A PubSub message, which is not part of IM."""
    return {"channel": "live_room_7", "timestamp": time.time_ns() // 1_000_000, "content": '{"text":"弹幕"}'}
