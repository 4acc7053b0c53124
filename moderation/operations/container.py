"""File format of a backup: a tar archive of a manifest and its members, optionally encrypted with a passphrase.

Without a passphrase the file is the archive, followed by its SHA-256 (32 bytes, which tar ignores). An encrypted file
has a header line, `moderation-console-backup 1 SALT CHECK DIGEST` (hexadecimal; DIGEST is the SHA-256 of the text
before it), and chunks of 1 MiB in AES-256-GCM. A chunk's nonce contains its number and whether it is the last, so that
chunks cannot be removed, reordered or cut off; each chunk authenticates the header. scrypt derives the key and CHECK,
which distinguishes a wrong passphrase from a damaged file.
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

from moderation.goeasy.answers import json_text
from moderation.json_depth import nests_too_deeply

VERSION = 1
NAME = b"moderation-console-backup"
CHUNK, TAG = 1024 * 1024, 16
DIGEST = 32
MAX_HEADER, MAX_MANIFEST = 1_000, 4 * 1024 * 1024
MANIFEST = "manifest.json"


class BackupError(Exception):
    """A backup cannot be created or restored; the message explains why to people."""


class DamagedError(BackupError):
    """The file was changed or cut off after it was written."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The backup is damaged: {reason}.")


def derive(passphrase: str, salt: bytes) -> tuple[AESGCM, bytes]:
    """Cipher and check value for a passphrase. Takes 64 MB of memory and some tenths of a second."""
    text = unicodedata.normalize("NFC", passphrase).encode()
    derived = Scrypt(salt=salt, length=48, n=2**16, r=8, p=1).derive(text)
    return AESGCM(derived[:32]), derived[32:]


def nonce(number: int, is_last: bool) -> bytes:
    """Nonce of a chunk; it is unique because each file has its own key."""
    return number.to_bytes(11, "big") + bytes([is_last])


class DigestWriter:
    """Writer that appends the SHA-256 of the data at the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def finish(self) -> None:
        self._file.write(self._digest.digest())


class EncryptingWriter:
    """Writer that encrypts the data in chunks."""

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
    """Reader for the output of EncryptingWriter. Raises DamagedError for anything else."""

    def __init__(self, file: BinaryIO, header: bytes, cipher: AESGCM) -> None:
        self._file, self._header, self._cipher, self._number = file, header, cipher, 0
        self._ready, self._ahead = b"", file.read(CHUNK + TAG)

    def read(self, size: int) -> bytes:
        """Read `size` bytes, fewer only at the end."""
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
    """Write the backup atomically, readable by its owner only. Raises OSError."""
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
    """Header of an archive member, without information about this machine."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


def describe(members: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of each member."""
    described = {}
    for name, member in members.items():
        with open(member, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        described[name] = {"size": member.stat().st_size, "sha256": digest}
    return described


@contextmanager
def open_archive(path: Path, passphrase: str) -> Iterator[tarfile.TarFile]:
    """Context with the archive of a backup, to be read once from the start; at its end all of it is verified.

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
            # Members are read one by one; nothing is extracted to paths of the archive.
            with tarfile.open(fileobj=reader, mode="r|") as archive:
                yield archive
        except (tarfile.TarError, EOFError):
            raise DamagedError("its archive cannot be read") from None
        while is_encrypted and reader.read(CHUNK):
            pass


def unlock(header: bytes, passphrase: str) -> AESGCM:
    """Cipher for an encrypted backup. Raises BackupError."""
    line, _, digest = header.rstrip(b"\n").rpartition(b" ")
    fields = header.split()
    if len(fields) > 1 and fields[1].isdigit() and int(fields[1]) > VERSION:
        raise BackupError("The backup was made by a newer version of the console. Restore it with that version.")
    if hashlib.sha256(line).hexdigest().encode() != digest or len(fields) != 5:
        raise DamagedError("its first line was changed or cut off")
    if not passphrase:
        raise BackupError("The backup is encrypted. Give its passphrase with --passphrase-file or BACKUP_PASSPHRASE.")
    cipher, check = derive(passphrase, bytes.fromhex(fields[2].decode()))
    if not compare_digest(check.hex().encode(), fields[3]):
        raise BackupError("The passphrase is wrong.")
    return cipher


def check_digest(file: BinaryIO) -> None:
    """Raise DamagedError unless the file ends with the SHA-256 of its content; then seek to the start."""
    left = os.fstat(file.fileno()).st_size - DIGEST
    digest = hashlib.sha256()
    file.seek(0)
    while left > 0:
        data = file.read(min(CHUNK, left))
        digest.update(data)
        left -= len(data) or left
    if left < 0 or digest.digest() != file.read(DIGEST):
        raise DamagedError("it is not a backup, or it was changed or cut off")
    file.seek(0)


def unpack(path: Path, passphrase: str, folder: Path) -> dict[str, Any]:
    """Write the members to `folder` under their names, verify everything and return the manifest.

    Raises BackupError and OSError.
    """
    manifest: dict[str, Any] = {}
    unpacked = set()
    with open_archive(path, passphrase) as archive:
        for member in archive:
            source = archive.extractfile(member)
            if source is None:
                raise DamagedError(f"“{member.name[:100]}” in it is not a file")
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
                raise DamagedError(f"“{member.name}” does not match its manifest")
            unpacked.add(member.name)
    if not manifest or unpacked != manifest["members"].keys():
        raise DamagedError("members that its manifest lists are missing")
    return manifest


def read_manifest(member: tarfile.TarInfo, source: Any) -> dict[str, Any]:
    """Read the manifest, the first member. Raises BackupError."""
    if member.name != MANIFEST or member.size > MAX_MANIFEST:
        raise DamagedError("it has no manifest")
    try:
        text = json_text(source.read())
        manifest = None if nests_too_deeply(text) else json.loads(text)
    except ValueError:
        raise DamagedError("its manifest cannot be read") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise DamagedError("its manifest cannot be read")
    if manifest["format"] > VERSION:
        raise BackupError("The backup was made by a newer version of the console. Restore it with that version.")
    return manifest
