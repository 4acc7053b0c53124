"""The peak memory of a worker that sends and verifies 1,000 messages, and then 100,000.

`python benchmarks/bench_memory.py [messages]`
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from _setup import console, request_recall, states, verdict, wait_until_final, workers

LATENCY_MS = 5


def peak_mb(pid: int) -> float:
    """Peak memory of the process since `forget_peak()` (MB)."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


def forget_peak(pid: int) -> None:
    """Reset the peak memory of the process (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def send(messages: int) -> None:
    """Recall and verify `messages` messages."""
    from recall.models import Recall, RecallBatch

    recall = request_recall(messages)
    wait_until_final(Recall.objects.filter(pk=recall.pk), at_most=60 + messages / 100)
    while RecallBatch.objects.filter(recall=recall, check_at__isnull=False).exists():
        time.sleep(0.1)
    assert states(Recall.objects.filter(pk=recall.pk)) == {"accepted": recall.batches.count()}


def main(messages: int) -> int:
    """Print the figures; 1 when one is missed."""
    from django.db import connection

    with workers(1) as (pid,):
        # Warm up first, because modules imported at first use do not grow with the messages.
        send(1_000)
        peaks = []
        for size in (1_000, messages):
            forget_peak(pid)
            send(size)
            peaks.append(peak_mb(pid))
            print(f"{connection.vendor}: {size} messages, peak {peaks[-1]:.1f} MB")
    return verdict([("MB more", peaks[1] - peaks[0], "≤", 20)])


if __name__ == "__main__":
    with console(LATENCY_MS, RECALL_VERIFY_AFTER="0"):
        status = main(int(sys.argv[1]) if sys.argv[1:] else 100_000)
    sys.exit(status)
