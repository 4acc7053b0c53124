"""The verifier on a large export: how long it takes, against a bare loop over the same file, and its memory.

`bench_verify.py [rows] [folder]`, 10,000,000 rows (some 6 GB, deleted at the end) unless given. It needs no database.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from _setup import ROOT, verdict

sys.path.insert(0, str(ROOT))
from bench_audit import bare, peak_of  # noqa: E402

from moderation.audit import verifier  # noqa: E402

SMALL = 100_000


# An entry such as a call of two timestamps leaves, in its canonical form before and after the place of its hash.
BEFORE = (
    '{"action":"recall.answered","actor":"mo","app":"default","at":"2026-01-01T08:00:00.%06dZ","attempt":1,"batch":0,'
    '"conversation":{"group_id":"group-%d","kind":"group"},"detail":{"note":"垃圾广告"},'
)
AFTER = (
    '"http_status":200,"latency_ms":87,"prev_hash":"%s","recall":"0192f0c1-7a3e-7b44-9c55-5d0c6a7e8f90",'
    '"request":{"appkey":"BC-…cdef","groupId":"group-%d","messages":[%d,%d]},'
    '"response_code":200,"response_content":"OK","seq":%d,"timestamps":[%d,%d]}'
)


def lines(rows: int) -> Iterator[bytes]:
    """An export with true hashes: lines are put together as text, which is quicker than encoding objects."""
    prev_hash = verifier.FIRST_PREV_HASH
    for seq in range(1, rows + 1):
        group, first = seq % 500, 1_700_000_000_000 + seq * 2
        before = (BEFORE % (seq % 1_000_000, group)).encode()
        after = (AFTER % (prev_hash, group, first, first + 1, seq, first, first + 1)).encode()
        prev_hash = sha256(before + after).hexdigest()
        yield b'%s"hash":"%s",%s\n' % (before, prev_hash.encode(), after)


def write(path: Path, rows: int) -> None:
    with open(path, "wb") as file:
        file.writelines(lines(rows))


def main(rows: int, folder: Path) -> int:
    """Print the figures; 1 if one is missed."""
    small, large = folder / "small.jsonl", folder / "large.jsonl"
    write(small, min(SMALL, rows))
    started = time.perf_counter()
    write(large, rows)
    print(f"{rows:,} entries, {large.stat().st_size / 1e9:.1f} GB, made in {time.perf_counter() - started:.0f} s")
    program = "moderation.audit.verifier"
    _seconds, small_peak = peak_of(program, str(small))
    # Both at once, so that whoever else works on the machine slows both alike.
    with ThreadPoolExecutor() as pool:
        verifying = pool.submit(peak_of, program, str(large))
        bare_seconds, _peak = peak_of(__file__, "bare", str(large))
        seconds, peak = verifying.result()
    print(f"  verified in {seconds:,.0f} s ({rows / seconds:,.0f} entries/s); bare loop {bare_seconds:,.0f} s")
    print(f"  peak memory {peak:.1f} MB; over {min(SMALL, rows):,} entries {small_peak:.1f} MB")
    return verdict(
        [
            ("verifier ÷ bare loop", bare_seconds / seconds, "≥", 0.4),
            ("memory, large ÷ small", peak / small_peak, "≤", 1.1),
        ]
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        bare(Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
            sys.exit(main(int((sys.argv[1] if len(sys.argv) > 1 else "10000000").replace(",", "")), Path(folder)))
