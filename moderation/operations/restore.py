"""Putting a backup back: everything is verified before anything is replaced, and what is replaced is kept aside."""

import tempfile
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader

from moderation.archive.key_rotation import count_unreadable
from moderation.audit import chain, checkpoints, export, verification
from moderation.audit.models import Action
from moderation.audit.requests import COMMAND_LINE
from moderation.audit.services import record
from moderation.operations import container, databases
from moderation.operations.backup import CHECKPOINT, KEY, PREFIX
from moderation.operations.container import BackupError
from moderation.operations.fingerprint import differences

# Models that have rows in every database that was used: an account, an entry of the log, a message, a delivery.
USED = ("accounts.User", "audit.AuditEntry", "archive.Message", "archive.WebhookDelivery")


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
            kept += put_beside(folder)
            return finish(manifest, former, kept)
        except (Error, OSError) as problem:
            raise UnfinishedError(
                f"The database is restored, but what follows failed: {problem} Mend that, and run migrate and "
                "verify_audit."
            ) from None


def former_log() -> dict[str, Any]:
    """How far the log went that is about to be replaced, as far as that can be read."""
    try:
        entries, head = chain.head()
    except Error:
        return {}
    return {"entries": entries, "head": head}


def finish(manifest: dict[str, Any], former: dict[str, Any] | None, kept: list[Path]) -> dict[str, Any]:
    """Bring the restored database up to date, record that it was restored, and look at what is in it."""
    call_command("migrate", verbosity=0, interactive=False)
    made = {"made_at": manifest["made_at"], "entries": manifest["audit"]["entries"]}
    record(actor=COMMAND_LINE, action=Action.RESTORED, detail={"backup": made, "overwritten": former})
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
        "recalls_that_will_be_sent": waiting_recalls(),
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


def waiting_recalls() -> int:
    """How many recalls a worker will send once it starts, as they had not been sent when the backup was made."""
    return int(apps.get_model("recall.Recall")._default_manager.filter(state__in=["waiting", "sending"]).count())
