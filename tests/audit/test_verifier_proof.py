"""The verifier checks proofs of single entries."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from moderation.audit import verifier

from .logs import checkpoint, log, root, write
from .verifying import Run, saved


def audit_path(leaves: list[bytes], index: int) -> list[bytes]:
    """The definition of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*audit_path(leaves[:k], index), root(leaves[k:])]
    return [*audit_path(leaves[k:], index - k), root(leaves[:k])]


def proof(entries: list[Any], seq: int) -> str:
    path = audit_path([bytes.fromhex(entry["hash"]) for entry in entries], seq - 1)
    lines = [verifier.PROOF, f"index {seq - 1}", *(base64.b64encode(node).decode() for node in path)]
    return "\n".join(lines) + f"\n\n{checkpoint(entries)}"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_every_entry_is_included_by_its_own_proof_and_by_no_other(
    run: Run, tmp_path: Path, key: Path, size: int
) -> None:
    entries = log(size)
    for seq in range(1, size + 1):
        entry = write(tmp_path / "e", [entries[seq - 1]])
        for other in range(1, size + 1):
            file = saved(tmp_path / "p", proof(entries, other))
            status, said = run(entry, "--proof", file, "--public-key", key)
            assert status == (0 if other == seq else 1), said
    assert said == f"Intact: seq {size} is among the {size} entries of the checkpoint."


def test_a_proof_that_was_tampered_with_is_refused(run: Run, tmp_path: Path, key: Path) -> None:
    entries, whole = log(7), proof(log(7), 3)
    entry = write(tmp_path / "e", [entries[2]])
    lines = whole.split("\n")
    for spoilt, expected in (
        (whole.replace("index 2", "index 3"), 1),
        ("\n".join([*lines[:2], *lines[3:]]), 1),
        ("\n".join([*lines[:3], lines[2], *lines[3:]]), 1),
        ("\n".join([*lines[:2], lines[3], lines[2], *lines[4:]]), 1),
        ("\n".join([*lines[:3], *lines[2:3] * 5000, *lines[3:]]), 1),
        (whole.replace("tlog-proof@v1", "tlog-proof@v2"), 2),
        (whole.replace("index 2\n", ""), 2),
        (whole.replace(lines[2], "!"), 2),
        (whole.partition("\n\n")[0], 2),
        ("", 2),
    ):
        status, said = run(entry, "--proof", saved(tmp_path / "p", spoilt), "--public-key", key)
        assert status == expected, (spoilt, said)
    changed = write(tmp_path / "e", [{**entries[2], "actor": "x"}])
    assert run(changed, "--proof", saved(tmp_path / "p", whole))[0] == 1
    assert run(write(tmp_path / "e", entries), "--proof", tmp_path / "p")[0] == 2
