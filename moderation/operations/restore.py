"""Restore a backup: everything is verified before anything is replaced, and replaced files are kept."""

import tempfile
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import Error, connection, transaction
from django.db.migrations.loader import MigrationLoader

from moderation.applications.key_rotation import count_unreadable
from moderation.audit.events import LogVerified
from moderation.audit.ledger import chain, checkpoints, export, verification
from moderation.audit.request_context import COMMAND_LINE
from moderation.audit.services import record
from moderation.operations import container, databases
from moderation.operations.backup import CHECKPOINT, KEY, PREFIX
from moderation.operations.container import BackupError
from moderation.operations.events import BackupRestored
from moderation.operations.fingerprint import differences
from moderation.registry import restored

# Models that have rows in any database in use: an account, an audit entry, a message, a delivery.
MODELS_IN_USE = ("accounts.User", "audit.AuditEntry", "archive.Message", "ingestion.WebhookDelivery")


class UnfinishedError(Exception):
    """The database is restored, but a later step failed."""


def restore(path: Path, passphrase: str = "", *, overwrite: bool = False) -> dict[str, Any]:
    """Restore a backup into the database and DATA_DIR; return a report.

    Raises BackupError, OSError and django.db.Error before anything is changed, UnfinishedError afterwards.
    """
    data = Path(settings.DATA_DIR)
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data, prefix=PREFIX) as name:
        folder = Path(name)
        manifest = container.unpack(path, passphrase, folder)
        database = check(manifest, folder)
        is_replaced = not is_empty()
        if is_replaced and not overwrite:
            raise BackupError("The database is not empty. Add --overwrite to replace it.")
        databases.refuse_if_in_use()
        replaced = replaced_log() if is_replaced else None
        kept = databases.load(database)
        try:
            # Before anything else: a worker that starts after this sends no recall a second time.
            counts = migrate_and_record(manifest, replaced)
            kept += restore_files(folder)
            return report(manifest, kept) | counts
        except (Error, OSError) as problem:
            raise UnfinishedError(
                f"The database is restored, but a later step failed: {problem} Do not start a worker: it could send "
                "recalls again that were sent after the backup. Fix the problem and restore again with --overwrite."
            ) from None


def replaced_log() -> dict[str, Any]:
    """Number of entries and head of the audit log that is about to be replaced; empty if unreadable."""
    try:
        entries, head = chain.head()
    except Error:
        return {}
    return {"entries": entries, "head": head}


def migrate_and_record(manifest: dict[str, Any], replaced: dict[str, Any] | None) -> dict[str, Any]:
    """Migrate the restored database, record the restore, and let other apps correct their rows; return their counts."""
    call_command("migrate", verbosity=0, interactive=False)
    backup = {"made_at": manifest["made_at"], "entries": manifest["audit"]["entries"]}
    totals: dict[str, Any] = {}
    with transaction.atomic():
        record(BackupRestored(actor=COMMAND_LINE, backup=backup, overwritten=replaced))
        responses: list[tuple[Any, Any]] = restored.send(sender=None)
        for _receiver, counts in responses:
            totals |= counts
    return totals


def report(manifest: dict[str, Any], kept: list[Path]) -> dict[str, Any]:
    """Verify the restored audit log and summarise the restore."""
    audit = verification.verify_log([])
    record(LogVerified(actor=COMMAND_LINE, checkpoints=0, **audit))
    salt = bytes.fromhex(manifest["settings_salt"])
    return {
        "restored": True,
        "made_at": manifest["made_at"],
        "engine": manifest["engine"],
        "audit": audit,
        "settings_that_differ": differences(manifest["settings"], salt),
        "keys_that_cannot_be_opened": count_unreadable(),
        "kept_aside": [str(file) for file in kept],
    }


def check(manifest: dict[str, Any], folder: Path) -> Path:
    """Path of the database copy in `folder`. Raises BackupError if this console cannot restore it."""
    engine = connection.vendor
    if manifest["engine"] != engine:
        made = databases.NAMES.get(manifest["engine"], "another database")
        raise BackupError(f"The backup is from {made}, and DATABASE_URL is {databases.NAMES[engine]}.")
    available = {".".join(key) for key in MigrationLoader(None).disk_migrations or ()}
    ours = {config.label for config in apps.get_app_configs() if config.name.startswith(("moderation.", "recall"))}
    unknown = [name for name in manifest["migrations"] if name.partition(".")[0] in ours and name not in available]
    if unknown:
        raise BackupError(
            f"The backup was made by a newer version of the console (it has the migration {unknown[0]}). Restore it "
            "with that version."
        )
    database = folder / databases.MEMBERS[engine]
    if not database.exists():
        raise container.DamagedError("it contains no database")
    databases.check_loadable(database, manifest)
    return database


def is_empty() -> bool:
    """Whether the database holds no data of a console; an unreadable one counts as not empty."""
    if connection.vendor == "sqlite":
        path = databases.sqlite_file()
        if not path.exists() or path.stat().st_size == 0:
            return True
    try:
        tables = connection.introspection.table_names()
        return not tables or not any(apps.get_model(name)._default_manager.exists() for name in MODELS_IN_USE)
    except Error:
        return False


def restore_files(folder: Path) -> list[Path]:
    """Restore the signing key and the checkpoint to their configured paths; return replaced files that were kept."""
    targets = []
    # With AUDIT_SIGNING_KEY set, the key file is not used.
    if not settings.AUDIT_SIGNING_KEY:
        targets.append((folder / KEY, Path(settings.AUDIT_KEY_FILE)))
    if settings.AUDIT_CHECKPOINT_FILE:
        targets.append((folder / CHECKPOINT, Path(settings.AUDIT_CHECKPOINT_FILE)))
    kept = []
    for source, target in targets:
        text = source.read_text(encoding="utf-8") if source.exists() else ""
        if target.exists() and target.read_text(encoding="utf-8", errors="replace") != text:
            kept += databases.keep_aside(target)
        if text and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.name == KEY:
                export.write_file(target, [text])
            else:
                checkpoints.write_note(target, text)
    return kept
