"""A recall of 10,000 messages: wall clock over the ideal that GoEasy's round trip permits, and over the same loop bare.

The ideal is ceil(n / 20) × latency ÷ concurrency. The bare loop makes the same calls with the same client and number
of threads and records nothing.
"""

from __future__ import annotations

import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from _setup import CONCURRENCY, console, request_recall, states, verdict

MESSAGES, LATENCY_MS = 10_000, 50


def bare(recall: object) -> float:
    """Seconds for the calls of `recall` alone, with no record of them."""
    from recall import services
    from recall.models import Recall, RecallItem

    assert isinstance(recall, Recall)
    calls = services.plan(list(RecallItem.objects.filter(recall=recall).values_list("timestamp", flat=True)))
    target = recall.conversation.target
    with recall.application.client() as client, ThreadPoolExecutor(CONCURRENCY) as threads:
        started = time.perf_counter()
        for future in [threads.submit(client.recall, target=target, timestamps=call) for call in calls]:
            future.result()
        return time.perf_counter() - started


def main() -> int:
    """Print the ratios; 1 when one is missed."""
    from django.db import connection

    from moderation.outbox.sender import send_due
    from recall.models import Recall

    recall = request_recall(MESSAGES)
    calls = recall.batches.count()
    ideal = calls * LATENCY_MS / 1000 / CONCURRENCY
    unrecorded = bare(recall)
    cpu, started = time.process_time(), time.perf_counter()
    send_due(recall.application)
    recorded, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert states(Recall.objects.filter(pk=recall.pk)) == {"accepted": calls}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{connection.vendor}: {calls} calls, {LATENCY_MS} ms latency, concurrency {CONCURRENCY}")
    print(f"  ideal {ideal:.2f} s · without record {unrecorded:.2f} s · recorded {recorded:.2f} s")
    print(f"  {calls / recorded:.0f} calls/s · CPU {cpu / calls * 1000:.1f} ms a call · peak {peak:.0f} MB")
    return verdict(
        [
            ("ideal ÷ recorded", ideal / recorded, "≥", 0.88),
            ("without record ÷ recorded", unrecorded / recorded, "≥", 0.95),
        ]
    )


if __name__ == "__main__":
    with console(LATENCY_MS):
        status = main()
    sys.exit(status)
