"""Reads of history at GOEASY_MAX_CALLS_PER_SECOND=1: how long twenty of them take, whoever makes them, and a recall
that leaves meanwhile.

The sandbox is a process of its own and notes when calls arrive. Run it with DATABASE_URL of either engine (default: a
new SQLite file).
"""

from __future__ import annotations

import sys
import threading
import time

from _setup import FIRST, GoEasy, console, fill_archive, request_recall, states, verdict

READS = 20


def main(goeasy: GoEasy) -> int:
    """Print the figures; 1 when one is missed."""
    from django.db import connection

    from moderation.archive.models import Conversation
    from moderation.ingestion import comparison as gaps
    from moderation.ingestion.backfill import read_latest, survey
    from moderation.outbox.sender import send_due
    from recall.models import Recall

    fill_archive("reader", READS, 1)
    conversations = list(Conversation.objects.select_related("application"))
    recall = request_recall(1)
    goeasy.forget()

    def read() -> None:
        for number, conversation in enumerate(conversations[:READS]):
            if number % 3 == 0:
                read_latest(conversation, pages=1)
            elif number % 3 == 1:
                survey(conversation, [FIRST], pages=1)
            else:
                gaps.fill(conversation, since=0, max_calls=1)
        connection.close()

    began = time.perf_counter()
    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(3)
    started = time.perf_counter()
    send_due(recall.application)
    waited = time.perf_counter() - started
    reader.join()
    took = time.perf_counter() - began
    assert states(Recall.objects.filter(pk=recall.pk)) == {"accepted": 1}
    calls = sorted(call["at_ms"] for endpoint in ("history", "recall") for call in goeasy.calls(endpoint))
    span = (calls[-1] - calls[0]) / 1000
    print(f"{connection.vendor}: {len(calls) - 1} reads and a recall at 1 call a second, {took:.1f} s")
    return verdict(
        [
            ("calls that arrived", len(calls), "≥", READS + 1),
            ("seconds from the first to the last", span, "≥", READS - 0.2),
            ("seconds until the recall was sent", waited, "≤", 5),
        ]
    )


if __name__ == "__main__":
    with console(0, GOEASY_MAX_CALLS_PER_SECOND="1") as goeasy_:
        status = main(goeasy_)
    sys.exit(status)
