"""Messages to erase, and where their text still is."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection

from moderation.applications.models import Application
from moderation.privacy import erasure

AT = 1_700_000_000_000
CANARY, OTHERS = "小明的秘密 c4n4ry-7d21", "somebody-else-5e77"


def message_data(number: int = 0, text: str = CANARY, **fields: Any) -> dict[str, Any]:
    return {
        "type": "text",
        "messageId": f"m-{number}",
        "timestamp": AT + number,
        "senderId": "user-a",
        "receiverId": "user-b",
        "payload": {"text": f"{text} {number}"},
        **fields,
    }


def content(*messages: dict[str, Any]) -> bytes:
    return json.dumps(messages, ensure_ascii=False).encode()


def everything() -> str:
    """Every row of every table, as text."""
    rows = []
    with connection.cursor() as cursor:
        # What SQLite's index keeps lies in tables of its own.
        for table in set(connection.introspection.table_names(cursor)) - {"search_searchgrams", "search_sendergrams"}:
            cursor.execute(f'SELECT * FROM "{table}"')
            for row in cursor.fetchall():
                rows += [
                    bytes(v).decode("utf-8", "replace") if isinstance(v, bytes | memoryview) else str(v) for v in row
                ]
    return "\n".join(rows)


def is_anywhere() -> bool:
    """Whether the database still has the text in any form."""
    dump = everything()
    escaped = json.dumps(CANARY)[1:-1]
    return CANARY in dump or escaped in dump or CANARY.split()[1] in dump


def erase(application: Application, *timestamps: int, with_notes: bool = False) -> dict[str, int]:
    request = erasure.ErasureRequest(application, "user-a", timestamps)
    return erasure.erase(request, actor="ada", reason="GDPR 17, request 7", with_notes=with_notes)
