"""Putting a backup back: everything is verified before anything is replaced, and what is replaced is kept aside."""

import tempfile
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import Error, connection, transaction
from django.db.migrations.loader import MigrationLoader

from moderation.applications.key_rotation import count_unreadable
from moderation.audit import chain, checkpoints, export, verification
from moderation.audit.models import Action
from moderation.audit.requests import COMMAND_LINE
from moderation.audit.services import record
from moderation.operations import container, databases
from moderation.operations.backup import CHECKPOINT, KEY, PREFIX
from moderation.operations.container import BackupError
from moderation.operations.fingerprint import differences
from moderation.registry import restored

# Models that have rows in every database that was used: an account, an entry of the log, a message, a delivery.
USED = ("accounts.User", "audit.AuditEntry", "archive.Message", "ingestion.WebhookDelivery")


class UnfinishedError(Exception):
    """The database is restored, and something else is left to do."""


def restore(path: Path, passphrase: str = "", *, overwrite: bool = False) -> dict[str, Any]:
    """Put a backup into the database and DATA_DIR; return what was found.

    Raises BackupError, OSError and django.db.Error before anything was changed, UnfinishedError afterwards.
    """
    data = Path(settings.DATA_DIR)
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data, prefix=PREFIX) as name:
        folder = Path(name)
        manifest = container.unpack(path, passphrase, folder)
        database = check(manifest, folder)
        is_replaced = not is_empty()
        if is_replaced and not overwrite:
            raise BackupError("The database is not empty. Add --overwrite to replace it by the backup.")
        databases.refuse_if_in_use()
        former = former_log() if is_replaced else None
        kept = databases.load(database)
        try:
            # First of all: from here on a worker that is started sends nothing that was sent already.
            found = bring_up_to_date(manifest, former)
            kept += put_beside(folder)
            return finish(manifest, kept) | found
        except (Error, OSError) as problem:
            raise UnfinishedError(
                f"The database is restored, but what follows failed: {problem} Start no worker: it may send recalls "
                "again that were sent since. Mend that, and restore once more with --overwrite."
            ) from None


def former_log() -> dict[str, Any]:
    """How far the log went that is about to be replaced, as far as that can be read."""
    try:
        entries, head = chain.head()
    except Error:
        return {}
    return {"entries": entries, "head": head}


def bring_up_to_date(manifest: dict[str, Any], former: dict[str, Any] | None) -> dict[str, Any]:
    """Migrate the restored database, record that it was restored, and let other apps say what is not known any more."""
    call_command("migrate", verbosity=0, interactive=False)
    made = {"made_at": manifest["made_at"], "entries": manifest["audit"]["entries"]}
    found: dict[str, Any] = {}
    with transaction.atomic():
        record(actor=COMMAND_LINE, action=Action.RESTORED, detail={"backup": made, "overwritten": former})
        answers: list[tuple[Any, Any]] = restored.send(sender=None)
        for _receiver, counts in answers:
            found |= counts
    return found


def finish(manifest: dict[str, Any], kept: list[Path]) -> dict[str, Any]:
    """Look at what is in the restored database."""
    audit = verification.find([])
    record(actor=COMMAND_LINE, action=Action.LOG_VERIFIED, detail={**audit, "checkpoints": 0})
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
    """The copy of the database, if this console can take it. Raises BackupError."""
    engine = connection.vendor
    if manifest["engine"] != engine:
        made = databases.NAMES.get(manifest["engine"], "another database")
        raise BackupError(f"The backup is of {made}, and DATABASE_URL is {databases.NAMES[engine]}.")
    known = {".".join(key) for key in MigrationLoader(None).disk_migrations or ()}
    ours = {config.label for config in apps.get_app_configs() if config.name.startswith(("moderation.", "recall"))}
    unknown = [name for name in manifest["migrations"] if name.partition(".")[0] in ours and name not in known]
    if unknown:
        raise BackupError(
            f"The backup was made by a newer version of the console (it has the migration {unknown[0]}). Put it back "
            "with that version."
        )
    database = folder / databases.MEMBERS[engine]
    if not database.exists():
        raise container.DamagedError("it has no database")
    databases.check_loadable(database, manifest)
    return database


def is_empty() -> bool:
    """Whether the database has nothing of a console that was used; one that cannot be read is not empty."""
    if connection.vendor == "sqlite":
        path = databases.sqlite_file()
        if not path.exists() or path.stat().st_size == 0:
            return True
    try:
        tables = connection.introspection.table_names()
        return not tables or not any(apps.get_model(name)._default_manager.exists() for name in USED)
    except Error:
        return False


def put_beside(folder: Path) -> list[Path]:
    """Put the signing key and the checkpoint where the settings say; return what was kept of former ones."""
    places = []
    # With AUDIT_SIGNING_KEY the file would never be read.
    if not settings.AUDIT_SIGNING_KEY:
        places.append((folder / KEY, Path(settings.AUDIT_KEY_FILE)))
    if settings.AUDIT_CHECKPOINT_FILE:
        places.append((folder / CHECKPOINT, Path(settings.AUDIT_CHECKPOINT_FILE)))
    kept = []
    for source, target in places:
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
