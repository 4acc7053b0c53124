"""Create a backup: the database, and the keys and checkpoint without which it cannot be read or verified."""

import base64
import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from moderation.audit.ledger import checkpoints, signing
from moderation.audit.ledger.chain import Sealer
from moderation.audit.ledger.export import last_seq
from moderation.audit.request_context import COMMAND_LINE
from moderation.audit.services import record
from moderation.audit.verifier import BrokenError
from moderation.operations import container, databases
from moderation.operations.container import BackupError
from moderation.operations.events import BackupMade
from moderation.operations.fingerprint import fingerprint

KEY, CHECKPOINT, EXPORTS = "audit-signing-key", "audit-checkpoint", "exports.json"
PREFIX = ".backup-"


def create(path: Path, passphrase: str = "") -> dict[str, Any]:
    """Write a backup to `path`, encrypted if a passphrase is given; return its manifest and "warnings".

    Raises BackupError, OSError and django.db.Error, and then leaves no file.
    """
    if path.exists():
        raise BackupError(f"{path} already exists. Choose another name or remove it first.")
    data = Path(settings.DATA_DIR)
    data.mkdir(parents=True, exist_ok=True)
    record(BackupMade(actor=COMMAND_LINE, file=path.name, encrypted=bool(passphrase)))
    # Unencrypted copies stay within DATA_DIR.
    with tempfile.TemporaryDirectory(dir=data, prefix=PREFIX) as name:
        folder = Path(name)
        # Take the checkpoint before the copy: a newer one would cover entries that the copy lacks.
        audit, warnings = collect_audit_files(folder)
        members = {member.name: member for member in folder.iterdir()}
        database = folder / databases.MEMBERS[connection.vendor]
        databases.dump(database)
        (folder / EXPORTS).write_text(json.dumps(exports()), encoding="utf-8")
        salt = os.urandom(16)
        manifest = {
            "format": container.VERSION,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "engine": connection.vendor,
            "database_version": databases.version(),
            "migrations": applied_migrations(),
            "audit": audit,
            "settings_salt": salt.hex(),
            "settings": fingerprint(salt),
        }
        members |= {database.name: database, EXPORTS: folder / EXPORTS}
        container.write(path, members, manifest, passphrase)
    return {**manifest, "warnings": warnings}


def collect_audit_files(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Write the signing key and a new checkpoint to `folder`; return the state of the audit log, and warnings.

    A log that cannot be signed is still backed up, with the checkpoint that was published last.
    """
    warnings = []
    state: dict[str, Any] = {"entries": 0}
    try:
        key = signing.private_key()
        (folder / KEY).write_bytes(base64.b64encode(key.private_bytes_raw()) + b"\n")
        state["public_key"] = base64.b64encode(key.public_key().public_bytes_raw()).decode()
        Sealer().seal()
        checkpoint = checkpoints.take()
        state |= {"entries": checkpoint.size, "head": checkpoint.head}
        (folder / CHECKPOINT).write_text(checkpoint.note, encoding="utf-8")
    except checkpoints.NothingToSign:
        pass
    except (BrokenError, signing.SigningKeyError) as problem:
        word = "is broken" if isinstance(problem, BrokenError) else "is not signed"
        warnings.append(f"The audit log {word}: {problem}.")
        state |= {"problem": str(problem), "entries": last_seq()}
        published = settings.AUDIT_CHECKPOINT_FILE
        if published and Path(published).exists():
            (folder / CHECKPOINT).write_bytes(Path(published).read_bytes())
    return state, warnings


def exports() -> list[dict[str, Any]]:
    """Names and sizes of the prepared exports on this machine. The files are not backed up."""
    folder = Path(settings.AUDIT_EXPORT_DIR)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [{"name": file.name, "size": file.stat().st_size} for file in files]


def applied_migrations() -> list[str]:
    """Migrations applied to the database, as app.name."""
    return sorted(".".join(key) for key in MigrationRecorder(connection).applied_migrations())
