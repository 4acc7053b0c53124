"""Audit log: the cost of sealing for writers, and the speed of export and verification.

Run it with DATABASE_URL of either engine (default: a new SQLite file). Entries stay in the log: give it a database of
its own.
"""

from __future__ import annotations

import json
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
WRITERS, SECONDS, ROUNDS = 8, 4, 7
SMALL, LARGE = 10_000, 60_000
TIMESTAMP = 1_700_000_000_000


def fields(number: int) -> dict[str, object]:
    """Fields of an entry for a call of 20 timestamps."""
    timestamps = [TIMESTAMP + number * 20 + place for place in range(20)]
    return {
        "actor": "mo",
        "action": "recall.answered",
        "app": "default",
        "conversation": {"kind": "group", "group_id": "group-1"},
        "recall": uuid.uuid4(),
        "batch": 0,
        "attempt": 1,
        "timestamps": timestamps,
        "request": {"appkey": "BC-…cdef", "groupId": "group-1", "messages": timestamps},
        "http_status": 200,
        "response_code": 200,
        "response_content": "OK",
        "latency_ms": 87,
        "detail": {"note": "垃圾广告"},
    }


def django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moderation.settings")
    import django

    django.setup()


def write() -> None:
    """Run one writer: an entry per transaction, for SECONDS after a line on stdin; print the number of entries."""
    django()
    from tests.audit.entries import record

    record(**fields(0))
    print("ready", flush=True)
    input()
    count, end = 0, time.time() + SECONDS
    while time.time() < end:
        record(**fields(count))
        count += 1
    print(count)


def seal() -> None:
    """Seal every second, as the worker does, until killed."""
    django()
    from moderation.audit.ledger.chain import Sealer

    sealer = Sealer()
    while True:
        sealer.seal()
        print("ready", flush=True)
        time.sleep(1)


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def inserted(*, sealing: bool) -> float:
    """Entries a second by WRITERS processes at once."""
    sealers = [start("seal")] if sealing else []
    writers = [start("write") for _ in range(WRITERS)]
    for process in [*sealers, *writers]:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    counts = [int(writer.communicate()[0]) for writer in writers]
    for sealer in sealers:
        sealer.kill()
        sealer.communicate()
    return sum(counts) / SECONDS


def peak_of(program: str, *arguments: str) -> tuple[float, float]:
    """Run a module or file in a process of its own; return seconds and peak memory (MB)."""
    started = time.perf_counter()
    command = [sys.executable, __file__, "peak", program, *arguments]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    return time.perf_counter() - started, float(run.stderr.split()[-1])


def report_peak(program: str, *arguments: str) -> None:
    """Run the module or file in this process and write its peak memory, in megabytes, to stderr."""
    sys.argv = [program, *arguments]
    try:
        if program.endswith(".py"):
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__")
    except SystemExit as end:
        assert not end.code
    # Not getrusage: that counts what the process was before it became this program.
    status = Path("/proc/self/status").read_text()
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024, file=sys.stderr)


def bare(path: Path) -> float:
    """Entries a second of canonicalising and hashing each line, and nothing else."""
    started, count = time.perf_counter(), 0
    with open(path, "rb") as file:
        for line in file:
            entry = json.loads(line)
            del entry["hash"]
            sha256(json.dumps(entry, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
            count += 1
    return count / (time.perf_counter() - started)


def verified(path: Path) -> float:
    """Entries a second of the verifier over the same file."""
    from moderation.audit import verifier

    started, chain = time.perf_counter(), verifier.Chain()
    with open(path, "rb") as file:
        for entry in verifier.read_export(file):
            chain.add(entry)
    return chain.seq / (time.perf_counter() - started)


def fill(until: int) -> None:
    """Bring the log to at least `until` sealed entries."""
    from moderation.audit.ledger.chain import Sealer, head
    from moderation.audit.services import record_all
    from tests.audit.entries import entry

    sealer = Sealer()
    sealer.seal()
    started, first = time.perf_counter(), head()[0]
    spent = 0.0
    while (size := head()[0]) < until:
        record_all([entry(**fields(number)) for number in range(min(1000, until - size))])  # type: ignore[arg-type]
        before = time.perf_counter()
        sealer.seal()
        spent += time.perf_counter() - before
    if spent:
        print(f"  sealing alone: {(until - first) / spent:,.0f} entries/s ({time.perf_counter() - started:.0f} s)")


def main(folder: Path) -> None:
    """Print the figures."""
    os.environ.setdefault("DATABASE_URL", f"sqlite:///{folder}/bench.sqlite3")
    os.environ |= {"SECRET_KEY": "benchmark-" * 6, "DEBUG": "false", "AUDIT_CHECKPOINT_FILE": ""}
    django()
    from django.core.management import call_command
    from django.db import connection

    from moderation.audit.ledger.chain import Sealer, head

    call_command("migrate", verbosity=0)
    print(f"{connection.vendor}: {WRITERS} writers, an entry a transaction, {SECONDS} s, {ROUNDS} rounds")
    ratios = []
    # Not counted, because writing into empty tables is faster.
    inserted(sealing=False)
    for number in range(ROUNDS):
        # The order alternates, because the tables grow.
        order = (False, True) if number % 2 else (True, False)
        by = {sealing: inserted(sealing=sealing) for sealing in order}
        Sealer().seal()
        ratios.append(by[True] / by[False])
        print(f"  entries/s without sealing {by[False]:,.0f} · with {by[True]:,.0f} · ratio {ratios[-1]:.2f}")
    print(f"  with ÷ without, median: {statistics.median(ratios):.2f}")

    fill(LARGE)
    small, large = folder / "small.jsonl", folder / "large.jsonl"
    manage = ("manage.py", "export_audit", "--output")
    seconds, peak = peak_of(*manage, str(large))
    start_up, small_peak = peak_of(*manage, str(small), "--until", "2000-01-01")
    count = head()[0]
    print(f"  export of {count:,} entries: {count / (seconds - start_up):,.0f} rows/s without the start of the process")
    print(f"  its peak memory {peak:.0f} MB; of none {small_peak:.0f} MB")
    with open(large, "rb") as source, open(small, "wb") as target:
        for _, line in zip(range(SMALL), source, strict=False):
            target.write(line)
    rates = [(bare(small), verified(small)) for _ in range(3)]
    ratio = statistics.median(v / b for b, v in rates)
    print(f"  bare loop {rates[-1][0]:,.0f} entries/s · verifier {rates[-1][1]:,.0f} · verifier ÷ bare: {ratio:.2f}")
    memory = [peak_of("moderation.audit.verifier", str(path))[1] for path in (small, large)]
    print(f"  verifier's peak memory over {SMALL:,} entries {memory[0]:.1f} MB, over {count:,} {memory[1]:.1f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write()
    elif sys.argv[1:2] == ["seal"]:
        seal()
    elif sys.argv[1:2] == ["peak"]:
        report_peak(*sys.argv[2:])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
