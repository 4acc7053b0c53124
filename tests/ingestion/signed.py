"""Signed deliveries as GoEasy makes them, for the tests of the webhook."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any

from django.test import Client

from moderation.goeasy.signing import sign
from moderation.ingestion.models import FeedCount

SECRET = "0123456789abcdef"
URL = "/webhooks/goeasy/default/"
FORM = "application/x-www-form-urlencoded"
AT = 1_700_000_000_000


def message_data(number: int = 0, **fields: Any) -> dict[str, Any]:
    """A private message in GoEasy's form."""
    return {
        "type": "text",
        "messageId": f"m-{number}",
        "timestamp": AT + number,
        "senderId": "user-a",
        "receiverId": "user-b",
        "payload": {"text": "你好 + & = %2B “quoted”"},
        **fields,
    }


def as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def deliver(client: Client, content: str | bytes, *, secret: str = SECRET, url: str = URL, **headers: str) -> Any:
    """POST a delivery as documented: a form with a signed `content`."""
    body = urllib.parse.urlencode({"content": content})
    headers = {"x-goeasy-signature": sign(secret, content), **headers}
    return client.post(url, body, content_type=FORM, headers=headers)


def is_acknowledged(response: Any) -> bool:
    return response.status_code == 200 and response.content == b'{"code":200,"content":"success"}'


def counted() -> dict[str, int]:
    return dict(FeedCount.objects.values_list("what", "number"))
