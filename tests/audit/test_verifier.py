"""The verifier: intact and broken exports, checkpoints and keys."""

from __future__ import annotations

import ast
import base64
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moderation.audit import verifier

from .logs import PRIVATE, chained, checkpoint, log, write
from .verifying import Run, saved

SOURCE = Path(verifier.__file__)


def test_the_verifier_is_one_file_that_needs_cryptography_alone() -> None:
    source = SOURCE.read_text(encoding="utf-8")
    modules = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert modules - sys.stdlib_module_names == {"cryptography"}


def test_a_copy_of_the_file_alone_verifies_an_export(tmp_path: Path) -> None:
    (tmp_path / "verifier.py").write_bytes(SOURCE.read_bytes())
    export = write(tmp_path / "export.jsonl", log(5))
    done = subprocess.run(
        [sys.executable, "verifier.py", str(export)], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Intact: all of seq 5, head {log(5)[-1]['hash']}.\n"


def test_an_empty_export_is_intact(run: Run, tmp_path: Path) -> None:
    assert run(write(tmp_path / "e", []))[0] == 0


def test_an_export_agrees_with_the_checkpoints_of_its_beginnings(run: Run, tmp_path: Path, key: Path) -> None:
    entries = log(20)
    notes = [saved(tmp_path / f"c{size}", checkpoint(entries[:size])) for size in (20, 1, 13)]
    options = [option for note in notes for option in ("--checkpoint", note)]
    assert run(write(tmp_path / "e", entries), *options, "--public-key", key)[0] == 0
    assert run(tmp_path / "e", *options)[0] == 0


def test_a_filtered_export_is_verified_for_what_it_holds(run: Run, tmp_path: Path) -> None:
    entries = log(9)
    export = write(tmp_path / "e", [entries[2], *entries[5:]])
    assert run(export) == (1, "Broken: seq 1: missing; seq 3 comes in its place.")
    assert run(export, "--partial")[0] == 0
    entries[6] = {**entries[6], "actor": "x"}
    assert run(write(tmp_path / "e", entries[5:]), "--partial")[1].startswith("Broken: seq 7: its content")
    assert run(export, "--partial", "--checkpoint", saved(tmp_path / "c", checkpoint(entries)))[0] == 2


BROKEN: dict[str, tuple[Callable[[list[Any]], list[Any]], str]] = {
    "changed": (lambda e: [*e[:3], {**e[3], "actor": "x"}, *e[4:]], "seq 4: its content is not what its hash"),
    "null": (lambda e: [*e[:3], {**e[3], "response_code": None}, *e[4:]], "seq 4: its content"),
    "deleted": (lambda e: [*e[:3], *e[4:]], "seq 4: missing; seq 5 comes in its place"),
    "first deleted": (lambda e: e[1:], "seq 1: missing; seq 2 comes"),
    "repeated": (lambda e: [*e[:4], *e[3:]], "seq 4: it comes after seq 4"),
    "swapped": (lambda e: [*e[:3], e[4], e[3], *e[5:]], "seq 4: missing; seq 5 comes"),
    "hash changed": (lambda e: [*e[:3], {**e[3], "hash": "a" * 64}, *e[4:]], "seq 4: its content"),
    "renumbered": (
        lambda e: [*e[:3], *({**entry, "seq": entry["seq"] - 1} for entry in e[4:])],
        "seq 4: its content",
    ),
    "rehashed": (lambda e: [*e[:3], chained([{**e[3], "actor": "x"}])[0], *e[4:]], "seq 1: it comes after seq 3"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_export_names_its_first_bad_entry(run: Run, tmp_path: Path, name: str) -> None:
    change, expected = BROKEN[name]
    status, said = run(write(tmp_path / "e", change(log(8))))
    assert (status, said.startswith(f"Broken: {expected}")) == (1, True), said


def test_a_changed_private_part_is_detected(run: Run, tmp_path: Path) -> None:
    for change in ({"salt": "5b" * 32}, {"salt": 5}, {"content": {"note": "another"}}, {"content": None}, {"hash": 1}):
        entries = log(6)
        entries[2]["private"] = {**PRIVATE, **change}
        status, said = run(write(tmp_path / "e", entries))
        assert (status, said[:29]) == (1, "Broken: seq 3: its private pa"), (change, said)
    entries = log(6)
    entries[2]["private"] = {}
    assert run(write(tmp_path / "e", entries))[0] == 1
    # A private part of an entry that never had one.
    entries = chained({**entry, "detail": {}} for entry in log(1))
    assert run(write(tmp_path / "e", entries))[0] == 1


def test_erased_private_parts_are_counted(run: Run, tmp_path: Path) -> None:
    entries = log(6)
    for entry in entries[1:4]:
        entry["private"] = None
    status, said = run(write(tmp_path / "e", entries))
    assert (status, said.split(", ")[-1]) == (0, "private parts gone and no entry here says why: 3.")
    erasure = {
        **entries[-1],
        "seq": 7,
        "action": "text.erased",
        "detail": {"entries": [2, 4, 5, "x", None]},
        "private": None,
    }
    entries = chained([*entries, erasure])
    status, said = run(write(tmp_path / "e", entries))
    assert (status, said.split(", ")[-1]) == (0, "private parts gone and no entry here says why: 1.")
    entries[-1]["detail"]["entries"].append(3)
    assert run(write(tmp_path / "e", chained(entries)))[1].endswith(f"head {chained(entries)[-1]['hash']}.")


def test_an_export_of_before_there_were_private_parts_is_intact(run: Run, tmp_path: Path) -> None:
    entries = [{key: value for key, value in entry.items() if key != "private"} for entry in log(6)]
    entries = chained({**entry, "detail": {"note": "as they were"}} for entry in entries)
    assert run(write(tmp_path / "e", entries)) == (0, f"Intact: all of seq 6, head {entries[-1]['hash']}.")


def test_an_entry_linked_to_another_than_the_one_before_is_named(run: Run, tmp_path: Path) -> None:
    entries = log(5)
    entry = {**entries[3], "prev_hash": "a" * 64}
    entries[3] = {**entry, "hash": verifier.entry_hash(entry)}
    assert run(write(tmp_path / "e", entries))[1] == "Broken: seq 4: its prev_hash is not the hash of the entry before."


def test_two_checkpoints_reveal_a_rebuilt_chain_between_them(run: Run, tmp_path: Path, key: Path) -> None:
    entries = log(12)
    forged = chained([*entries[:6], {**entries[6], "actor": "x"}, *entries[7:]])
    notes = [saved(tmp_path / f"c{size}", checkpoint(entries[:size])) for size in (4, 10)]
    export = write(tmp_path / "e", forged)
    assert run(export)[0] == 0
    status, said = run(export, "--checkpoint", notes[0], "--checkpoint", notes[1], "--public-key", key)
    assert (status, said) == (1, "Broken: seq 5 to 10: not the entries that the checkpoint of 10 covers.")


def test_a_checkpoint_reveals_a_missing_tail(run: Run, tmp_path: Path) -> None:
    entries = log(6)
    note = saved(tmp_path / "c", checkpoint(entries))
    status, said = run(write(tmp_path / "e", entries[:4]), "--checkpoint", note)
    assert (status, said) == (1, "Broken: seq 5: missing; a checkpoint covers 6 entries.")


def test_the_checkpoint_of_another_log_is_refused(run: Run, tmp_path: Path, key: Path) -> None:
    note = saved(tmp_path / "c", checkpoint(log(6, actor="lea")))
    status, said = run(write(tmp_path / "e", log(6)), "--checkpoint", note, "--public-key", key)
    assert (status, "or of another log" in said) == (1, True)


def test_a_wrong_key_and_a_changed_checkpoint_have_different_messages(run: Run, tmp_path: Path, key: Path) -> None:
    export, note = write(tmp_path / "e", log(6)), saved(tmp_path / "c", checkpoint(log(6)))
    other = saved(
        tmp_path / "k", base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    )
    status, said = run(export, "--checkpoint", note, "--public-key", other)
    assert (status, said) == (1, "Broken: the checkpoint is not signed with this public key.")
    saved(note, note.read_text().replace("\n6\n", "\n5\n"))
    status, said = run(export, "--checkpoint", note, "--public-key", key)
    assert (status, said) == (1, "Broken: the checkpoint of 5 was changed: its signature is not right.")


def test_the_key_of_another_log_is_refused(run: Run, tmp_path: Path, key: Path) -> None:
    entries = log(6)
    export, note = write(tmp_path / "e", entries), saved(tmp_path / "c", checkpoint(entries))
    key_id, base = "00000000", base64.b64encode(b"\1" + base64.b64decode(key.read_text())[-32:]).decode()
    ours, theirs = (
        f"{name}+{key_id}+{base}" for name in (checkpoint(entries).split("\n")[0], verifier.ORIGIN + "0" * 16)
    )
    assert run(export, "--checkpoint", note, "--public-key", saved(tmp_path / "k", ours))[0] == 0
    status, said = run(export, "--checkpoint", note, "--public-key", saved(tmp_path / "k", theirs))
    assert (status, said) == (1, "Broken: the checkpoint is not signed with this public key.")


def test_an_unchecked_signature_is_mentioned(run: Run, tmp_path: Path, key: Path) -> None:
    export, note = write(tmp_path / "e", log(6)), saved(tmp_path / "c", checkpoint(log(6)))
    assert run(export, "--checkpoint", note)[1].endswith(", signatures not checked.")
    assert "signatures" not in run(export, "--checkpoint", note, "--public-key", key)[1]
