"""The key that signs checkpoints, and the public keys whose signatures are trusted."""

import base64
import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from moderation.audit.models import AuditAlarm, AuditCheckpoint


class SigningKeyError(Exception):
    """There is no usable signing key. The log can be neither signed nor verified; it may well be intact.

    `problem` is one of `AuditAlarm.Problem`; the text names the file and what to do.
    """

    def __init__(self, problem: AuditAlarm.Problem, text: str) -> None:
        super().__init__(text)
        self.problem = problem


def private_key() -> Ed25519PrivateKey:
    """Load AUDIT_SIGNING_KEY, or the key in AUDIT_KEY_FILE; generate that file for a log without checkpoints.

    Raises SigningKeyError, and OSError if a new key cannot be written.
    """
    if settings.AUDIT_SIGNING_KEY:
        return Ed25519PrivateKey.from_private_bytes(settings.AUDIT_SIGNING_KEY)
    path = Path(settings.AUDIT_KEY_FILE)
    if not path.exists():
        if has_checkpoints():
            raise SigningKeyError(
                AuditAlarm.Problem.KEY_MISSING,
                f"the signing key is missing: AUDIT_SIGNING_KEY is not set and {path} does not exist. Put the file "
                "back from a backup. If it is lost for good, set AUDIT_SIGNING_KEY to a new key and name the public "
                "key of the lost one in AUDIT_FORMER_PUBLIC_KEYS",
            )
        write_new_key(path)
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(path.read_bytes(), validate=False))
    except OSError as problem:
        reason = str(problem.strerror)
    except ValueError:
        reason = "it does not hold 32 bytes in Base64"
    raise SigningKeyError(
        AuditAlarm.Problem.KEY_UNUSABLE,
        f"the signing key in {path} cannot be used: {reason}. Put it back from a backup",
    )


def has_checkpoints() -> bool:
    """Whether the database or AUDIT_CHECKPOINT_FILE has a checkpoint."""
    published = settings.AUDIT_CHECKPOINT_FILE
    return AuditCheckpoint.objects.exists() or bool(published and Path(published).exists())


def write_new_key(path: Path) -> None:
    """Write a new key, unless another process has just written one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with open(handle, "wb") as file:
        file.write(base64.b64encode(os.urandom(32)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)


def public_key() -> bytes:
    """The 32 bytes of the public key. Raises like `private_key()`."""
    return private_key().public_key().public_bytes_raw()


def trusted_keys() -> list[bytes]:
    """Public keys that are trusted: our own, if there is one, and AUDIT_FORMER_PUBLIC_KEYS. Raises OSError."""
    try:
        return [public_key(), *settings.AUDIT_FORMER_PUBLIC_KEYS]
    except SigningKeyError:
        return list(settings.AUDIT_FORMER_PUBLIC_KEYS)
