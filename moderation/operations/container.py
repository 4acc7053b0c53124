"""The file of a backup: a tar archive of a manifest and its members, encrypted with a passphrase or not.

Without a passphrase the file is the archive, followed by its SHA-256 (32 bytes, which tar ignores). With one it is a
first line, `moderation-console-backup 1 SALT CHECK DIGEST` (hexadecimal; DIGEST is the SHA-256 of the line before it),
and chunks of 1 MiB in AES-256-GCM. A chunk's nonce is its number and whether it is the last, so that none can be left
out, moved or cut off; the line is authenticated with each. scrypt makes the key, and CHECK, which tells a wrong
passphrase from a damaged file.
"""

import hashlib
import io
import json
import os
import tarfile
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from hmac import compare_digest
from pathlib import Path
from typing import Any, BinaryIO, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from moderation.goeasy.answers import text_of
from moderation.json_depth import nests_too_deeply

VERSION = 1
NAME = b"moderation-console-backup"
CHUNK, TAG = 1024 * 1024, 16
DIGEST = 32
MAX_HEADER, MAX_MANIFEST = 1_000, 4 * 1024 * 1024
MANIFEST = "manifest.json"


class BackupError(Exception):
    """A backup cannot be made or put back; the text is a sentence that says why."""


class DamagedError(BackupError):
    """The file is not as it was written."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The backup is damaged: {what}.")


def derive(passphrase: str, salt: bytes) -> tuple[AESGCM, bytes]:
    """The cipher, and a check value of the passphrase. Takes 64 MB and some tenths of a second."""
    text = unicodedata.normalize("NFC", passphrase).encode()
    derived = Scrypt(salt=salt, length=48, n=2**16, r=8, p=1).derive(text)
    return AESGCM(derived[:32]), derived[32:]


def nonce(number: int, is_last: bool) -> bytes:
    """The nonce of a chunk; a key is of one file, so that none comes twice."""
    return number.to_bytes(11, "big") + bytes([is_last])


class DigestWriter:
    """Passes on what is written, and ends it with its SHA-256."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def finish(self) -> None:
        self._file.write(self._digest.digest())


class EncryptingWriter:
    """Encrypts what is written, a chunk at a time."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        salt = os.urandom(16)
        self._cipher, check = derive(passphrase, salt)
        line = NAME + f" {VERSION} {salt.hex()} {check.hex()}".encode()
        self._header = line + f" {hashlib.sha256(line).hexdigest()}\n".encode()
        self._file, self._number, self._pending = file, 0, bytearray()
        file.write(self._header)

    def write(self, data: bytes) -> int:
        self._pending += data
        while len(self._pending) > CHUNK:
            self._put(bytes(self._pending[:CHUNK]), is_last=False)
            del self._pending[:CHUNK]
        return len(data)

    def finish(self) -> None:
        self._put(bytes(self._pending), is_last=True)

    def _put(self, chunk: bytes, *, is_last: bool) -> None:
        self._file.write(self._cipher.encrypt(nonce(self._number, is_last), chunk, self._header))
        self._number += 1


class DecryptingReader:
    """Reads what an EncryptingWriter wrote. Raises DamagedError for whatever else."""

    def __init__(self, file: BinaryIO, header: bytes, cipher: AESGCM) -> None:
        self._file, self._header, self._cipher, self._number = file, header, cipher, 0
        self._ready, self._ahead = b"", file.read(CHUNK + TAG)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer, or none, only at the end."""
        while len(self._ready) < size and self._ahead:
            chunk, self._ahead = self._ahead, self._file.read(CHUNK + TAG)
            try:
                self._ready += self._cipher.decrypt(nonce(self._number, not self._ahead), chunk, self._header)
            except InvalidTag:
                raise DamagedError("a part of it was changed or cut off") from None
            self._number += 1
        read, self._ready = self._ready[:size], self._ready[size:]
        return read


def write(path: Path, members: dict[str, Path], manifest: dict[str, Any], passphrase: str) -> None:
    """Write the backup, for its owner alone and whole or not at all. Raises OSError."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            writer = EncryptingWriter(file, passphrase) if passphrase else DigestWriter(file)
            with tarfile.open(fileobj=cast(BinaryIO, writer), mode="w|", format=tarfile.PAX_FORMAT) as archive:
                text = json.dumps({**manifest, "members": describe(members)}, ensure_ascii=False, indent=1).encode()
                archive.addfile(entry(MANIFEST, len(text)), io.BytesIO(text))
                for name, member in members.items():
                    with open(member, "rb") as source:
                        archive.addfile(entry(name, member.stat().st_size), source)
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def entry(name: str, size: int) -> tarfile.TarInfo:
    """A member of the archive, which says nothing about this machine."""
    found = tarfile.TarInfo(name)
    found.size, found.mode = size, 0o600
    return found


def describe(members: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of each."""
    described = {}
    for name, member in members.items():
        with open(member, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        described[name] = {"size": member.stat().st_size, "sha256": digest}
    return described


@contextmanager
def open_archive(path: Path, passphrase: str) -> Iterator[tarfile.TarFile]:
    """The archive in a backup, to be read once from its beginning. At the end all of it was verified.

    Raises BackupError and OSError.
    """
    with open(path, "rb") as file:
        header = file.readline(MAX_HEADER)
        is_encrypted = header.startswith(NAME + b" ")
        if is_encrypted:
            reader: Any = DecryptingReader(file, header, unlock(header, passphrase))
        else:
            check_digest(file)
            reader = file
        try:
            # The members are written here, one after the other; nothing is extracted by the archive's own paths.
            with tarfile.open(fileobj=reader, mode="r|") as archive:
                yield archive
        except (tarfile.TarError, EOFError):
            raise DamagedError("its archive cannot be read") from None
        while is_encrypted and reader.read(CHUNK):
            pass


def unlock(header: bytes, passphrase: str) -> AESGCM:
    """The cipher for an encrypted backup. Raises BackupError."""
    line, _, digest = header.rstrip(b"\n").rpartition(b" ")
    fields = header.split()
    if len(fields) > 1 and fields[1].isdigit() and int(fields[1]) > VERSION:
        raise BackupError("The backup was made by a newer version of the console. Put it back with that version.")
    if hashlib.sha256(line).hexdigest().encode() != digest or len(fields) != 5:
        raise DamagedError("its first line was changed or cut off")
    if not passphrase:
        raise BackupError("The backup is encrypted: give its passphrase with --passphrase-file or BACKUP_PASSPHRASE.")
    cipher, check = derive(passphrase, bytes.fromhex(fields[2].decode()))
    if not compare_digest(check.hex().encode(), fields[3]):
        raise BackupError("The passphrase is wrong.")
    return cipher


def check_digest(file: BinaryIO) -> None:
    """Raise DamagedError unless the file ends with the SHA-256 of what comes before; then go back to its beginning."""
    left = os.fstat(file.fileno()).st_size - DIGEST
    digest = hashlib.sha256()
    file.seek(0)
    while left > 0:
        data = file.read(min(CHUNK, left))
        digest.update(data)
        left -= len(data) or left
    if left < 0 or digest.digest() != file.read(DIGEST):
        raise DamagedError("it is no backup, or it was changed or cut off")
    file.seek(0)


def unpack(path: Path, passphrase: str, folder: Path) -> dict[str, Any]:
    """Write the members into `folder` under their names, verify all, and return the manifest.

    Raises BackupError and OSError.
    """
    manifest: dict[str, Any] = {}
    unpacked = set()
    with open_archive(path, passphrase) as archive:
        for member in archive:
            source = archive.extractfile(member)
            if source is None:
                raise DamagedError(f"“{member.name[:100]}” in it is no file")
            if not manifest:
                manifest = read_manifest(member, source)
                continue
            expected = manifest["members"].get(member.name)
            if expected is None or member.name in unpacked or Path(member.name).name != member.name:
                raise DamagedError(f"its manifest does not list “{member.name[:100]}”")
            digest = hashlib.sha256()
            with open(folder / member.name, "wb") as target:
                while data := source.read(CHUNK):
                    digest.update(data)
                    target.write(data)
            if digest.hexdigest() != expected["sha256"]:
                raise DamagedError(f"“{member.name}” is not what its manifest says")
            unpacked.add(member.name)
    if not manifest or unpacked != manifest["members"].keys():
        raise DamagedError("not all that its manifest lists is there")
    return manifest


def read_manifest(member: tarfile.TarInfo, source: Any) -> dict[str, Any]:
    """The manifest, which comes first. Raises BackupError."""
    if member.name != MANIFEST or member.size > MAX_MANIFEST:
        raise DamagedError("it has no manifest")
    try:
        text = text_of(source.read())
        manifest = None if nests_too_deeply(text) else json.loads(text)
    except ValueError:
        raise DamagedError("its manifest cannot be read") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise DamagedError("its manifest cannot be read")
    if manifest["format"] > VERSION:
        raise BackupError("The backup was made by a newer version of the console. Put it back with that version.")
    return manifest
