"""Backfill: the pages of history read over the minimum, and whether every message arrives.

The sandbox is a process of its own and answers over HTTP. A page has 30 messages at most, and only an empty one shows
that history begins there; a page's cursor is strictly before a millisecond (docs/goeasy-api.md, "History"), so that
what a page's end cuts off of a millisecond can only be read with all of that millisecond. The ideal are the pages of a
reader who knows all messages beforehand, and so reads a millisecond again only where a page's end cuts it: without
messages that share one, ceil(n / 30) + 1. Backfill does not know, and reads every page's last millisecond again. The
figure is all pages over all ideals; each conversation's own is printed.

Each conversation is read twice with `manage.py backfill`: into an empty archive, and once all is there, when it has to
look at the same pages to know. Run it with DATABASE_URL of either engine (default: a new SQLite file).
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from bisect import bisect_right
from io import StringIO
from typing import Any

import requests
from _setup import FIRST, GoEasy, console, verdict

PAGE = 30
# Messages, and how many of every hundred are sent in one and the same millisecond.
SIZES = [(number, 0) for number in (0, 1, 29, 30, 31, 59, 60, 61, 89, 90, 500, 1_000, 10_000)]
SIZES += [(1_000, 5), (1_000, 20), (10_000, 12), (10_000, 29)]


def times(number: int, burst: int) -> list[int]:
    """Timestamps of `number` messages (ms), oldest first, with `burst` of every hundred in one millisecond."""
    return [FIRST + 1_000 * (place if place % 100 >= burst else place - place % 100) for place in range(number)]


def ideal(sent: list[int]) -> int:
    """The minimum number of pages to read all messages sent at these times, and to see that there are no more."""
    pages, left = 1, len(sent)
    while left > 0:
        pages, left = pages + 1, left - PAGE
        if left > 0 and sent[left - 1] == sent[left]:
            # Cut in two: once more with all of it.
            left = bisect_right(sent, sent[left])
    return pages


def fill(goeasy: GoEasy, sent: list[int]) -> str:
    """Create a group with messages sent at these times in the sandbox; return its id."""
    group = f"backfill-{time.time_ns()}"
    messages = [
        {
            "type": "text",
            "messageId": uuid.uuid4().hex,
            "timestamp": timestamp,
            "senderId": f"user-{place % 7}",
            "payload": {"text": f"消息 {place}"},
        }
        for place, timestamp in enumerate(sent)
    ]
    for start in range(0, len(messages), 1_000):
        body = {"conversation": {"kind": "group", "group_id": group}, "messages": messages[start : start + 1_000]}
        requests.post(f"{goeasy.url}/sandbox/messages", json=body, timeout=60).raise_for_status()
    return group


def backfill(group: str) -> dict[str, Any]:
    """Run `manage.py backfill` for a group and return its JSON document."""
    from django.core.management import call_command

    out = StringIO()
    call_command("backfill", group=group, json=True, stdout=out)
    document: dict[str, Any] = json.loads(out.getvalue())
    return document


def differences(goeasy: GoEasy, group: str) -> int:
    """Number of messages that differ between GoEasy and the archive."""
    from moderation.archive.models import Message

    answer = requests.get(f"{goeasy.url}/sandbox/messages?group={group}", timeout=60).json()["content"]
    there = {(message["messageId"], message["timestamp"]) for message in answer}
    here = set(Message.objects.filter(conversation__group_id=group).values_list("message_id", "timestamp"))
    return len(there ^ here)


def main(goeasy: GoEasy) -> int:
    """Print the figures; 1 when one is missed."""
    from django.db import connection

    print(f"{connection.vendor}:")
    pages, fewest, lacking, again, arrived = 0, 0, 0, 0, 0
    started = time.perf_counter()
    for number, burst in SIZES:
        sent = times(number, burst)
        group, least = fill(goeasy, sent), ideal(sent)
        goeasy.forget()
        first, second = backfill(group), backfill(group)
        calls = len(goeasy.calls("history"))
        assert calls == first["calls"] + second["calls"], "every call is counted"
        assert first["added"] == number, (number, first)
        arrived += first["added"]
        again += second["added"]
        lacking += differences(goeasy, group)
        pages, fewest = pages + calls, fewest + 2 * least
        ratio = max(first["calls"], second["calls"]) / least
        print(
            f"  {number:>6} messages, bursts of {burst:>2}: {first['calls']} pages, and {second['calls']} once all was "
            f"there (ideal {least}: {ratio:.2f})"
        )
    print(f"  {arrived:,} messages in {time.perf_counter() - started:.0f} s, read twice")
    return verdict(
        [
            ("pages read ÷ ideal, all conversations", pages / fewest, "≤", 1.1),
            ("messages that the archive lacks", lacking, "≤", 0),
            ("messages added by the second time", again, "≤", 0),
        ]
    )


if __name__ == "__main__":
    with console(0) as goeasy:
        status = main(goeasy)
    sys.exit(status)
