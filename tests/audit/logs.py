"""Logs to verify, made without a database, and checkpoints of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from moderation.audit import verifier
from moderation.audit.ledger import checkpoints

Entry = dict[str, Any]
PRIVATE = {"salt": "5a" * 32, "content": {"note": "垃圾广告 🎉", "asked": [1.5, None]}}


def chained(entries: Iterable[Entry]) -> list[Entry]:
    """Set `seq`, `prev_hash` and `hash` of entries, like a sealer (or a forger)."""
    chain: list[Entry] = []
    for seq, entry in enumerate(entries, start=1):
        entry = {**entry, "seq": seq, "prev_hash": chain[-1]["hash"] if chain else "0" * 64}
        chain.append({**entry, "hash": verifier.entry_hash(entry)})
    return chain


def log(size: int, actor: str = "mo") -> list[Entry]:
    """A log of recalls, in which every entry is different."""
    return chained(
        {
            "seq": None,
            "at": f"2026-01-02T03:04:05.{number:06}Z",
            "actor": actor,
            "action": "recall.answered",
            "app": "default",
            "conversation": {"kind": "group", "group_id": "group-1"},
            "recall": f"00000000-0000-4000-8000-{number:012}",
            "batch": 0,
            "attempt": 1,
            "timestamps": [1767323045123 + number],
            "request": {"appkey": "BC-…cdef", "groupId": "group-1", "messages": [1767323045123 + number]},
            "http_status": 200,
            "response_code": 200,
            "response_content": "OK",
            "latency_ms": 87,
            "detail": {"outcome": "垃圾广告 🎉", "private": sha256(verifier.canonical(PRIVATE)).hexdigest()},
            "prev_hash": None,
            "hash": None,
            "private": PRIVATE,
        }
        for number in range(size)
    )


def text(entries: Iterable[Entry]) -> str:
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)


def write(path: Path, entries: Iterable[Entry]) -> Path:
    path.write_text(text(entries), encoding="utf-8", newline="")
    return path


def root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, 2.1, which the product computes in another way."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:])).digest()


def checkpoint(entries: list[Entry]) -> str:
    """A note of these entries, signed with the console's key."""
    leaves = [bytes.fromhex(entry["hash"]) for entry in entries]
    return checkpoints.sign(verifier.ORIGIN + entries[0]["hash"][:16], len(entries), root(leaves))
