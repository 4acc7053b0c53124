"""A sweep of 500 conversations × 20 messages: wall clock over the ideal; then two workers, and the calls in flight.

`python benchmarks/bench_sweep.py [conversations]`
"""

from __future__ import annotations

import sys
import time

from _setup import CONCURRENCY, console, fill_archive, request_sweep, states, verdict, wait_until_final, workers

MESSAGES, LATENCY_MS = 20, 50


def main(conversations: int, goeasy: object) -> int:
    """Print the figures; 1 when one is missed."""
    from django.db import connection

    from moderation.outbox.sender import send_due
    from recall.models import Sweep

    ideal = conversations * LATENCY_MS / 1000 / CONCURRENCY
    print(f"{connection.vendor}: {conversations} conversations × {MESSAGES} messages, {LATENCY_MS} ms latency")
    sender = f"spammer-{time.time_ns()}"
    fill_archive(sender, conversations, MESSAGES)
    started = time.perf_counter()
    sweep = request_sweep(sender)
    requested = time.perf_counter() - started
    cpu, started = time.process_time(), time.perf_counter()
    send_due(sweep.application)
    sent, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert states(sweep.recalls.all()) == {"accepted": conversations}
    print(f"  ideal {ideal:.2f} s · sent {sent:.2f} s · CPU {cpu / conversations * 1000:.1f} ms a call")
    print(f"  asking for it, evidence included: {requested:.2f} s")

    fill_archive(f"{sender}-2", conversations, MESSAGES)
    goeasy.forget()  # type: ignore[attr-defined]
    with workers(2):
        second: Sweep = request_sweep(f"{sender}-2")
        wait_until_final(second.recalls.all(), at_most=60 + 20 * ideal)
    calls = goeasy.calls()  # type: ignore[attr-defined]
    assert states(second.recalls.all()) == {"accepted": conversations}
    span = (calls[-1]["at_ms"] - calls[0]["at_ms"]) / 1000
    print(f"  two workers: {len(calls)} calls, first to last {span:.2f} s")
    return verdict(
        [
            ("ideal ÷ sent", ideal / sent, "≥", 0.85),
            ("two workers, calls ÷ calls needed", len(calls) / conversations, "≤", 1.0),
            ("two workers, most calls in flight", max(call["in_flight"] for call in calls), "≤", CONCURRENCY),
        ]
    )


if __name__ == "__main__":
    with console(LATENCY_MS, RECALL_VERIFY="false") as goeasy:
        status = main(int(sys.argv[1]) if sys.argv[1:] else 500, goeasy)
    sys.exit(status)
