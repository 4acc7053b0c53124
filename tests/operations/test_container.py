"""The backup file: changed or cut files and wrong passphrases are refused, in bounded memory."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from moderation.operations import container
from moderation.operations.container import BackupError, DamagedError

PASSPHRASE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the key derivation fast: it is slow on purpose."""
    scrypt = container.Scrypt
    monkeypatch.setattr(container, "Scrypt", lambda **fields: scrypt(**{**fields, "n": 2}))


def write(folder: Path, passphrase: str, *contents: bytes, **manifest: Any) -> Path:
    """Write a backup with these members."""
    members = {}
    for number, content in enumerate(contents):
        members[f"member-{number}"] = folder / f"source-{number}"
        members[f"member-{number}"].write_bytes(content)
    path = folder / "console.backup"
    path.unlink(missing_ok=True)
    container.write(path, members, {"format": 1, **manifest}, passphrase)
    return path


def unpack(path: Path, passphrase: str, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    return container.unpack(path, passphrase, folder)


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
@pytest.mark.parametrize("size", [0, 1, container.CHUNK - 10_240, container.CHUNK, 3 * container.CHUNK + 5])
def test_a_written_backup_is_read_back(tmp_path: Path, passphrase: str, size: int) -> None:
    content = random.Random(size).randbytes(size)
    path = write(tmp_path, passphrase, content, b"x", engine="sqlite")
    assert path.stat().st_mode & 0o777 == 0o600
    manifest = unpack(path, passphrase, tmp_path / "new")
    assert (manifest["engine"], (tmp_path / "new" / "member-0").read_bytes()) == ("sqlite", content)
    assert size < 100 or (content[:1000] in path.read_bytes()) == (not passphrase)


def test_tar_can_read_an_unencrypted_backup(tmp_path: Path) -> None:
    path = write(tmp_path, "", b"abc")
    listed = subprocess.run(["tar", "-tf", path], capture_output=True, text=True, check=True).stdout
    assert listed.splitlines() == ["manifest.json", "member-0"]


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
def test_every_changed_byte_is_detected(tmp_path: Path, passphrase: str) -> None:
    path = write(tmp_path, passphrase, b"abc" * 100)
    whole = path.read_bytes()
    rng = random.Random(1)
    for position in {0, len(whole) - 1, *range(0, 150, 7), *(rng.randrange(len(whole)) for _ in range(150))}:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ rng.randrange(1, 256)]) + whole[position + 1 :])
        with pytest.raises(BackupError):
            unpack(path, passphrase, tmp_path / "new")


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
def test_every_truncation_is_detected(tmp_path: Path, passphrase: str) -> None:
    path = write(tmp_path, passphrase, os.urandom(2 * container.CHUNK))
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1 if passphrase else 0
    chunk = container.CHUNK + container.TAG
    for length in (0, 1, 40, 600, len(whole) // 2, len(whole) - 33, len(whole) - 1, header + chunk, header + 2 * chunk):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError):
            unpack(path, passphrase, tmp_path / "new")
    path.write_bytes(whole + b"more")
    with pytest.raises(DamagedError):
        unpack(path, passphrase, tmp_path / "new")


def test_reordered_chunks_are_detected(tmp_path: Path) -> None:
    path = write(tmp_path, PASSPHRASE, os.urandom(3 * container.CHUNK))
    whole = path.read_bytes()
    start, chunk = whole.index(b"\n") + 1, container.CHUNK + container.TAG
    one, two, rest = whole[start : start + chunk], whole[start + chunk : start + 2 * chunk], whole[start + 2 * chunk :]
    path.write_bytes(whole[:start] + two + one + rest)
    with pytest.raises(DamagedError):
        unpack(path, PASSPHRASE, tmp_path / "new")


@pytest.mark.parametrize(
    ("given", "message"),
    [("another passphrase", "The passphrase is wrong."), ("", "The backup is encrypted. Give its")],
)
def test_a_wrong_passphrase_is_not_reported_as_damage(tmp_path: Path, given: str, message: str) -> None:
    path = write(tmp_path, PASSPHRASE, b"abc")
    with pytest.raises(BackupError, match=message):
        unpack(path, given, tmp_path / "new")
    assert not (tmp_path / "new" / "member-0").exists()


def test_a_passphrase_is_normalised(tmp_path: Path) -> None:
    path = write(tmp_path, "caf\u00e9 caf\u00e9 caf\u00e9", b"abc")
    assert unpack(path, "cafe\u0301 cafe\u0301 cafe\u0301", tmp_path / "new")["format"] == 1


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
def test_a_newer_format_is_refused(tmp_path: Path, passphrase: str) -> None:
    path = write(tmp_path, passphrase, b"abc", format=2)
    with pytest.raises(BackupError, match="made by a newer version"):
        unpack(path, passphrase, tmp_path / "new")


def test_a_newer_encryption_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "console.backup"
    path.write_bytes(b"moderation-console-backup 2 something else\n" + bytes(100))
    with pytest.raises(BackupError, match="made by a newer version"):
        unpack(path, PASSPHRASE, tmp_path / "new")


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "member-9", "manifest.json"])
def test_a_member_that_the_manifest_does_not_list_is_refused(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        manifest = json.dumps({"format": 1, "members": {}}).encode()
        for member, content in (("manifest.json", manifest), (name, b"x")):
            archive.addfile(container.entry(member, len(content)), io.BytesIO(content))
    path = tmp_path / "console.backup"
    path.write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())
    with pytest.raises(DamagedError, match="does not list"):
        unpack(path, "", tmp_path / "new")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["console.backup", "new"]


def test_a_failed_backup_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        container.write(tmp_path / "console.backup", {"gone": tmp_path / "gone"}, {"format": 1}, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
def test_memory_use_is_bounded(tmp_path: Path, passphrase: str) -> None:
    source = tmp_path / "large"
    with open(source, "wb") as file:
        file.truncate(64 * 1024 * 1024)
    tracemalloc.start()
    try:
        container.write(tmp_path / "console.backup", {"large": source}, {"format": 1}, passphrase)
        unpack(tmp_path / "console.backup", passphrase, tmp_path / "new")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "new" / "large").stat().st_size == 64 * 1024 * 1024
    assert peak < 16 * 1024 * 1024


def test_a_deeply_nested_manifest_is_refused() -> None:
    for depth in (101, 900, 200_000):
        manifest = f'{{"format": 1, "members": {"[" * depth}{"]" * depth}}}'.encode()
        member = tarfile.TarInfo("manifest.json")
        member.size = len(manifest)
        with pytest.raises(DamagedError, match="its manifest cannot be read"):
            container.read_manifest(member, io.BytesIO(manifest))
