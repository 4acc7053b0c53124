"""A recall of 10,000 messages: wall clock over the ideal that GoEasy's round trip permits, and over the same loop bare.

The ideal is ceil(n / 20) × latency ÷ concurrency. The bare loop makes the same calls with the same client and number
of threads and records nothing. Run it with DATABASE_URL of either engine (default: a new SQLite file).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
MESSAGES, LATENCY_MS, CONCURRENCY = 10_000, 50, 8
FIRST = 1_700_000_000_000


def prepare(folder: str, sandbox_url: str, appkey: str) -> None:
    """Settings, and an empty database."""
    os.environ.setdefault("DATABASE_URL", f"sqlite:///{folder}/bench.sqlite3")
    os.environ |= {
        "SECRET_KEY": "benchmark-" * 6,
        "DEBUG": "false",
        "DJANGO_SETTINGS_MODULE": "moderation.settings",
        "GOEASY_APPKEY": appkey,
        "GOEASY_REST_HOST": sandbox_url,
        "GOEASY_CONCURRENCY": str(CONCURRENCY),
    }
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def bare(target: Any, calls: list[tuple[int, ...]]) -> float:
    """Seconds for the calls alone, with no record of them."""
    from moderation.archive.models import Application

    with Application.objects.get(slug="default").client() as client, ThreadPoolExecutor(CONCURRENCY) as threads:
        started = time.perf_counter()
        for future in [threads.submit(client.recall, target=target, timestamps=call) for call in calls]:
            future.result()
        return time.perf_counter() - started


def main(sandbox_url: str) -> None:
    """Print the ratios."""
    from django.db import connection

    from moderation.accounts.models import User
    from moderation.archive.models import Application, Conversation
    from moderation.goeasy.client import Group
    from recall import engine, services
    from recall.models import RecallReason
    from recall.progress import progress_of

    application = Application.objects.get(slug="default")
    group = Conversation.objects.open(application, Group(f"bench-{time.time_ns()}"))
    # One recall takes 5,000 timestamps at most through the form; the engine itself has no such limit.
    timestamps = [FIRST + number for number in range(MESSAGES)]
    calls = services.plan(timestamps)
    ideal = len(calls) * LATENCY_MS / 1000 / CONCURRENCY
    unrecorded = bare(group.target, calls)
    recall = services.request_recall(
        conversation=group,
        actor=User.objects.create_user(f"bench-{time.time_ns()}", role="moderator"),
        reason=RecallReason.objects.all()[0],
        note="",
        timestamps=timestamps,
        recaller=None,
        submission=uuid.uuid4(),
        grace_seconds=0,
    )
    cpu, started = time.process_time(), time.perf_counter()
    engine.send_recall(recall.pk)
    recorded, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert progress_of([recall])[recall.pk].outcome == "accepted"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{connection.vendor}: {len(calls)} calls, {LATENCY_MS} ms latency, concurrency {CONCURRENCY}")
    print(f"  ideal {ideal:.2f} s · without record {unrecorded:.2f} s · recorded {recorded:.2f} s")
    print(f"  ideal ÷ recorded: {ideal / recorded:.2f} · without record ÷ recorded: {unrecorded / recorded:.2f}")
    print(f"  {len(calls) / recorded:.0f} calls/s · CPU {cpu / len(calls) * 1000:.1f} ms a call · peak {peak:.0f} MB")


if __name__ == "__main__":
    import requests

    with tempfile.TemporaryDirectory() as folder:
        key = "BC-0123456789abcdef"
        # A process of its own: its work must not be counted as the engine's.
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "moderation.goeasy.sandbox",
                "--port",
                "0",
                "--appkey",
                key,
                "--data",
                f"{folder}/s.db",
                "--seed",
                "none",
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[-1]
            fault = {"rules": [{"on": "recall", "kind": "latency", "ms": LATENCY_MS}]}
            requests.post(f"{url}/sandbox/faults", json=fault, timeout=5).raise_for_status()
            prepare(folder, url, key)
            main(url)
        finally:
            server.terminate()
