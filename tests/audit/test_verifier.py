"""The verifier: what is intact, what is broken and where, what cannot be read; against the RFCs' own examples."""

from __future__ import annotations

import ast
import base64
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from moderation.audit import verifier
from moderation.audit.ledger import checkpoints

from .logs import PRIVATE, chained, checkpoint, log, root, text, write

SOURCE = Path(verifier.__file__)
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs the verifier; returns its exit status and what it says, on stdout or stderr alone."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["verifier.py", *map(str, arguments)])
        status = verifier.main()
        out, err = capsys.readouterr()
        assert bool(out) == (status == 0) and bool(err) == (status != 0)
        return status, (out + err).strip()

    return run


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The file with the console's public key."""
    path = tmp_path / "key"
    path.write_text(base64.b64encode(checkpoints.public_key()).decode())
    return path


def saved(path: Path, note: str) -> Path:
    path.write_text(note, encoding="utf-8", newline="")
    return path


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


# RFC 8785, appendix B.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "expected"), NUMBERS.items())
def test_numbers_are_written_as_rfc_8785_lists_them(bits: str, expected: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert verifier.canonical(verifier.load(json.dumps({"n": number}))) == f'{{"n":{expected}}}'.encode()


def test_keys_and_text_are_written_as_in_rfc_8785s_examples() -> None:
    # Sections 3.2.2 and 3.2.3.
    example = r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"""
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert verifier.canonical(verifier.load(example)) == expected.encode()
    keys = r'{"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\ud83d\ude00": 5, "\u0080": 6, "\u00f6": 7}'
    values = list(json.loads(verifier.canonical(verifier.load(keys))).values())
    assert values == [2, 4, 6, 7, 1, 5, 3]


# The leaves and roots with which implementations of Certificate Transparency test themselves.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_roots_are_those_of_certificate_transparency() -> None:
    leaves = [bytes.fromhex(leaf) for leaf in LEAVES]
    tree = verifier.Tree()
    for size, expected in enumerate(ROOTS):
        assert tree.root().hex() == root(leaves[:size]).hex() == expected
        if size < len(leaves):
            tree.append(leaves[size])


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=70))
def test_roots_are_those_of_the_rfcs_own_definition(leaves: list[bytes]) -> None:
    tree = verifier.Tree()
    for leaf in leaves:
        tree.append(leaf)
    assert tree.root() == root(leaves)
    assert verifier.Tree(tree.size, tree.nodes).root() == root(leaves)


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
    # Beside an entry that never had one.
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


@pytest.mark.parametrize(
    "options",
    [
        ("--proof", "c", "--checkpoint", "c"),
        ("--proof", "c", "--partial"),
        ("--partial", "--checkpoint", "c"),
        ("--partial", "--public-key", "k"),
        ("--public-key", "k"),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    run: Run, tmp_path: Path, key: Path, options: tuple[str, ...]
) -> None:
    files = {"c": saved(tmp_path / "c", checkpoint(log(6))), "k": key}
    status, said = run(write(tmp_path / "e", log(6)), *(files.get(option, option) for option in options))
    assert (status, said.partition(";")[0]) == (2, "Cannot be read: give one of --checkpoint, --proof and --partial")


def test_a_huge_number_and_a_byte_order_mark_are_reported_without_a_traceback(run: Run, tmp_path: Path) -> None:
    line = text(log(1)).replace('"latency_ms": 87', '"latency_ms": 1e9999999999999999999')
    assert "1e99" in line
    status, said = run(saved(tmp_path / "e", line))
    assert (status, said.startswith("Cannot be read: line 1: ")) == (2, True)
    note = saved(tmp_path / "c", "\ufeff" + checkpoint(log(6)))
    status, said = run(write(tmp_path / "e", log(6)), "--checkpoint", note)
    assert (status, said.startswith("Cannot be read: not a checkpoint")) == (2, True)


@pytest.mark.parametrize(
    "text",
    [
        *("", "nonsense", "a" * 44, "-----BEGIN PUBLIC KEY-----\n"),
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(b"\2" + bytes(32)).decode(),
        "moderation-console/0+1+" + "*" * 44,
    ],
)
def test_an_invalid_public_key_is_refused(run: Run, tmp_path: Path, text: str) -> None:
    key, note = saved(tmp_path / "k", text), saved(tmp_path / "c", checkpoint(log(6)))
    status, said = run(write(tmp_path / "e", log(6)), "--checkpoint", note, "--public-key", key)
    assert (status, said) == (2, "Cannot be read: not a public key: 32 bytes of Ed25519 in Base64.")


def test_the_signature_is_checked_before_the_export(run: Run, tmp_path: Path) -> None:
    note = saved(tmp_path / "c", checkpoint(log(6)))
    other = saved(tmp_path / "k", base64.b64encode(bytes(32)).decode())
    (tmp_path / "e").write_text("nonsense\n")
    assert run(tmp_path / "e", "--checkpoint", note, "--public-key", other)[0] == 1
    assert run(tmp_path / "e", "--checkpoint", note)[0] == 2


UNREADABLE: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "cut in the middle": (lambda t: t[:-40], "line 4: it is cut in the middle"),
    "cut at the end": (lambda t: t[:-1], "line 4: it is cut in the middle"),
    "blank line": (lambda t: t.replace("\n", "\n\n", 1), "line 2: it is blank"),
    "CRLF": (lambda t: t.replace("\n", "\r\n"), "line 1: it ends with CRLF"),
    "byte-order mark": (lambda t: "\ufeff" + t, "line 1: it begins with a byte-order mark"),
    "duplicate key": (lambda t: t.replace('"actor"', '"actor": "x", "actor"', 1), "line 1: a key occurs twice"),
    "duplicate key within": (lambda t: t.replace('"note"', '"note": 1, "note"', 1), "line 1: a key occurs twice"),
    "number for text": (lambda t: t.replace('"mo"', "7", 1), "line 1: “actor” must be a string"),
    "text for number": (lambda t: t.replace('"seq": 1', '"seq": "1"', 1), "line 1: “seq” must be a whole number"),
    "truth for number": (lambda t: t.replace('"seq": 1', '"seq": true', 1), "line 1: “seq” must be a whole number"),
    "fraction": (lambda t: t.replace('"batch": 0', '"batch": 0.5', 1), "line 1: “batch” must be a whole number"),
    "list for object": (
        lambda t: t.replace('{"kind": "group", "group_id": "group-1"}', "[]", 1),
        "line 1: “conversation” must be an object",
    ),
    "key missing": (lambda t: t.replace('"actor": "mo", ', "", 1), "line 1: its keys are not those of an entry"),
    "key added": (lambda t: t.replace('"actor"', '"who": 1, "actor"', 1), "line 1: its keys are not those of an entry"),
    "not an object": (lambda t: "[]\n" + t, "line 1: its keys are not those of an entry"),
    "not JSON": (lambda t: t.replace("{", "(", 1), "line 1: it is not JSON"),
    "NaN": (lambda t: t.replace("87", "NaN", 1), "line 1: "),
    "great number": (lambda t: t.replace("87", str(2**53), 1), "line 1: a number is beyond 2^53 - 1"),
    "endless number": (lambda t: t.replace("87", "9" * 9000, 1), "line 1: a number is beyond 2^53 - 1"),
    "infinite number": (lambda t: t.replace('{"note"', '{"n": 1e999, "note"', 1), "a number is too great"),
    "nested": (lambda t: t.replace('"mo"', "[" * 100_000 + "]" * 100_000, 1), "line 1: it nests deeper than 200"),
    "nested number": (
        lambda t: t.replace('{"note"', '{"n": ' + "[" * 700 + "0.5" + "]" * 700 + ', "note"', 1),
        "line 1: it nests deeper than 200",
    ),
    "200 levels": (lambda t: t.replace('"mo"', "[" * 199 + "]" * 199, 1), "line 1: “actor” must be a string"),
    "201 levels": (lambda t: t.replace('"mo"', "[" * 200 + "]" * 200, 1), "line 1: it nests deeper than 200"),
    "no hash": (lambda t: t.replace('"hash": "', '"hash": "g', 1), "line 1: “seq” must be 1 or more, “hash”"),
    "seq 0": (lambda t: t.replace('"seq": 1', '"seq": 0', 1), "line 1: “seq” must be 1 or more"),
    "not UTF-8": (lambda t: t.encode().replace(b"mo", b"\xff", 1), "line 1: 'utf-8' codec"),
    "NUL": (lambda t: t.replace('"mo"', '"m\0o"', 1), "line 1: it is not JSON"),
    "another format": (lambda t: "seq,at,actor\n1,2,3\n", "line 1: it is not JSON"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_line_is_named(run: Run, tmp_path: Path, name: str) -> None:
    change, expected = UNREADABLE[name]
    spoilt = change(text(log(4)))
    (tmp_path / "e").write_bytes(spoilt if isinstance(spoilt, bytes) else spoilt.encode())
    status, said = run(tmp_path / "e")
    assert (status, said.startswith(f"Cannot be read: {expected}")) == (2, True), said


@pytest.mark.parametrize(
    "note",
    ["", "x", "\n\n\n\n", "moderation-console/x\n0\nAAAA\n\n", text(log(1)), "a\n1\n" + "A" * 43 + "=\n\n", "é" * 100]
    + [checkpoint(log(3)).replace("\n3\n", f"\n{size}\n") for size in ("03", "-3", "٣", "1e1", "9" * 40, "")]
    + [checkpoint(log(3)).replace("— ", "- "), checkpoint(log(3)) + "x", checkpoint(log(3)).replace("\n", "\r\n")]
    + [checkpoint(log(3)).replace("\n\n", "\n"), checkpoint(log(3))[:-5]],
)
def test_an_invalid_checkpoint_is_refused(run: Run, tmp_path: Path, note: str) -> None:
    status, said = run(write(tmp_path / "e", log(3)), "--checkpoint", saved(tmp_path / "c", note))
    assert (status, said.startswith("Cannot be read: ")) == (2, True), said


@pytest.mark.parametrize("text", ["", "short", "A" * 44, "é", base64.b64encode(bytes(31)).decode()])
def test_an_unreadable_key_is_refused(run: Run, tmp_path: Path, text: str) -> None:
    note = saved(tmp_path / "c", checkpoint(log(3)))
    export = write(tmp_path / "e", log(3))
    status, said = run(export, "--checkpoint", note, "--public-key", saved(tmp_path / "k", text))
    assert (status, said.startswith("Cannot be read: ")) == (2, True), said


@pytest.mark.parametrize("option", ["--checkpoint", "--public-key", "--proof"])
def test_a_file_that_is_not_there_is_named(run: Run, tmp_path: Path, option: str) -> None:
    export = write(tmp_path / "e", log(1))
    assert run(tmp_path / "nowhere")[0] == 2
    status, said = run(export, option, tmp_path / "nowhere")
    assert (status, "nowhere" in said) == (2, True)


def audit_path(leaves: list[bytes], index: int) -> list[bytes]:
    """RFC 6962, 2.1.1, word for word."""
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
