"""The verifier refuses unreadable input with a message."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from .logs import checkpoint, log, text, write
from .verifying import Run, saved


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
