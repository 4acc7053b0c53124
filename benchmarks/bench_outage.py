"""60 s of 503 in the middle of a recall of 10,000 messages: how many calls that costs, and how soon it then ends.

`python benchmarks/bench_outage.py [seconds]`
"""

from __future__ import annotations

import sys
import time

from _setup import console, request_recall, states, verdict, wait_until_final, workers

MESSAGES, LATENCY_MS = 10_000, 50


def main(seconds: float, goeasy: object) -> int:
    """Print the figures; 1 when one is missed."""
    from django.db import connection

    from recall.models import Recall, RecallBatch

    with workers(1):
        recall = request_recall(MESSAGES)
        needed = recall.batches.count()
        accepted = RecallBatch.objects.filter(recall=recall, state="accepted")
        while accepted.count() < needed // 3:
            time.sleep(0.02)
        goeasy.behave({"on": "recall", "kind": "status", "status": 503})  # type: ignore[attr-defined]
        time.sleep(seconds)
        goeasy.behave()  # type: ignore[attr-defined]
        recovered = time.perf_counter()
        wait_until_final(Recall.objects.filter(pk=recall.pk), at_most=120)
        took = time.perf_counter() - recovered
    calls = len(goeasy.calls())  # type: ignore[attr-defined]
    final = states(Recall.objects.filter(pk=recall.pk))
    print(f"{connection.vendor}: {needed} calls needed, {seconds:g} s of 503 in the middle, {calls} calls made")
    print(f"  in the end: {final}")
    return verdict(
        [
            ("calls ÷ calls needed", calls / needed, "≤", 1.1),
            ("seconds from recovery to the end", took, "≤", 15),
            ("calls lost", needed - final.get("accepted", 0), "≤", 0),
        ]
    )


if __name__ == "__main__":
    with console(LATENCY_MS, RECALL_VERIFY="false") as goeasy:
        status = main(float(sys.argv[1]) if sys.argv[1:] else 60, goeasy)
    sys.exit(status)
