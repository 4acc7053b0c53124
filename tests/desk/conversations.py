"""Conversations with messages, and their page, for the tests of the desk."""

from __future__ import annotations

import json
import re
from typing import Any

from django.test import Client

from moderation.archive.ingest import ingest
from moderation.archive.models import Conversation, Message
from recall.models import Recall, RecallItem, RecallReason
from tests.markup import markup
from tests.outbox.calls import make_batch

START = 1795000000000
HTMX = {"HX-Request": "true"}


def fill(conversation: Conversation, count: int, *, start: int = START, **fields: Any) -> list[Message]:
    """`count` messages, a second apart, from three senders in turn."""
    raws = [
        json.dumps(
            {
                "type": "text",
                "messageId": f"{start}-{number}",
                "timestamp": start + number * 1000,
                "senderId": f"user-{number % 3}",
                "senderData": {"name": f"Name {number % 3}"},
                "payload": {"text": f"大家好, this is number {number}"},
                **fields,
            }
        )
        for number in range(count)
    ]
    ingest(conversation, raws)
    return list(Message.objects.filter(conversation=conversation).order_by("timestamp", "id"))


def recall_of(message: Message, actor: Any, reason: RecallReason, state: str) -> Recall:
    """A recall of one message whose only batch is in `state`."""
    recall = Recall.objects.create(
        application=message.conversation.application, conversation=message.conversation, actor=actor, reason=reason
    )
    batch = make_batch(recall, state=state)
    RecallItem.objects.create(recall=recall, batch=batch, position=0, timestamp=message.timestamp)
    return recall


def address(conversation: Conversation, tail: str = "") -> str:
    return f"/conversations/{conversation.pk}/{tail}"


def page(client: Client, conversation: Conversation, query: str = "", **extra: Any) -> str:
    response = client.get(address(conversation) + query, **extra)
    assert response.status_code == 200
    return markup(response)


def shown(html: str) -> list[int]:
    """The timestamps of the rows, in the page's order."""
    return [int(ms) for ms in re.findall(r'data-timestamp="(\d+)"', html)]


def history(sandbox: Any, conversation: Conversation, count: int, *, start: int = START) -> None:
    """Put `count` messages into GoEasy's history of the conversation that the archive lacks."""
    sandbox.add_messages(
        conversation.for_audit(),
        [
            {"type": "text", "timestamp": start + number, "senderId": "user-a", "payload": {"text": f"from {number}"}}
            for number in range(count)
        ],
    )
