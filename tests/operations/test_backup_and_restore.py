"""`manage.py backup` and `restore` on both engines: refusals, kept files and output."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from moderation.operations import container, databases, passphrase, restore
from moderation.operations.container import BackupError

from .consoles import Console, install, populate
from .consoles import databases as new_databases

PASSPHRASE = "correct horse battery staple"
postgresql = pytest.mark.skipif("postgres" not in os.environ.get("DATABASE_URL", ""), reason="PostgreSQL alone")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console with data."""
    with new_databases(1) as (database,):
        installed = install(tmp_path_factory.mktemp("used") / "console", database)
        populate(installed)
        assert installed.manage("audit_checkpoint").returncode == 0
        yield installed


@pytest.fixture(scope="module")
def backup(console: Console) -> Path:
    """An encrypted backup of the console."""
    result = console.manage("backup", "kept.backup", "--json", BACKUP_PASSPHRASE=PASSPHRASE)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["encrypted"], document["warnings"], document["engine"]) == (True, [], connection.vendor)
    assert document["bytes"] == Path(document["file"]).stat().st_size
    return console.folder / "kept.backup"


def files(folder: Path) -> dict[str, int]:
    """Permissions of every file below `folder`, by name."""
    return {file.name: file.stat().st_mode & 0o777 for file in folder.rglob("*") if file.is_file()}


def audit_hashes(console: Console) -> str:
    """Sequence numbers and hashes of the console's audit log."""
    query = "SELECT seq, hash FROM audit_auditseal ORDER BY seq"
    if connection.vendor == "sqlite":
        with closing(sqlite3.connect(console.data / "console.sqlite3")) as database:
            return str(database.execute(query).fetchall())
    with psycopg.connect(console.settings["DATABASE_URL"]) as server:
        return str(server.execute(query).fetchall())


def test_a_database_with_data_is_replaced_only_with_overwrite(console: Console, backup: Path) -> None:
    before, kept = audit_hashes(console), files(console.data)
    result = console.manage("restore", str(backup), BACKUP_PASSPHRASE=PASSPHRASE)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "CommandError: The database is not empty. Add --overwrite to replace it.\n"
    assert (audit_hashes(console), files(console.data).keys() - kept.keys()) == (before, set())
    result = console.manage("restore", str(backup), "--overwrite", "--json", BACKUP_PASSPHRASE=PASSPHRASE)
    report = json.loads(result.stdout)
    assert result.returncode == 0, result.stderr
    assert (report["audit"]["problem"], report["keys_that_cannot_be_opened"]) == (None, 0)
    assert report["settings_that_differ"] == []
    aside = {Path(name).name.partition(".replaced-")[0] for name in report["kept_aside"]}
    assert aside == ({"console.sqlite3"} if connection.vendor == "sqlite" else set())
    log = console.manage("export_audit").stdout
    (entry,) = [each for each in map(json.loads, log.splitlines()) if each["action"] == "backup.restored"]
    assert entry["detail"]["overwritten"]["entries"] == before.count("(")
    assert audit_hashes(console).startswith(before[:-1])


def test_a_database_in_use_is_not_replaced(console: Console, backup: Path) -> None:
    if connection.vendor == "sqlite":
        other: Any = sqlite3.connect(console.data / "console.sqlite3")
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("SELECT count(*) FROM django_migrations").fetchone()
    else:
        other = psycopg.connect(console.settings["DATABASE_URL"])
    with closing(other):
        result = console.manage("restore", str(backup), "--overwrite", BACKUP_PASSPHRASE=PASSPHRASE)
    assert (result.returncode, "The database is in use. Stop the web processes" in result.stderr) == (2, True), (
        result.stderr
    )


def test_changed_settings_are_listed_without_values(tmp_path: Path, console: Console, backup: Path) -> None:
    with new_databases(1) as (database,):
        other = install(tmp_path / "other", database, GOEASY_CONCURRENCY="3")
        result = other.manage("restore", str(backup), BACKUP_PASSPHRASE=PASSPHRASE)
        assert result.returncode == 0, result.stderr
        assert "differ from the backup: GOEASY_CONCURRENCY, SECRET_KEY." in result.stdout
        assert "Stored keys that cannot be opened: 1." in result.stdout
        for secret in (other.settings["SECRET_KEY"], console.settings["SECRET_KEY"], "BC-fedcba9876543210", PASSPHRASE):
            assert secret not in result.stdout + result.stderr
        # With the former key as a fallback they can be opened and encrypted with the new one.
        other.write_env(FIELD_ENCRYPTION_KEY_FALLBACKS=console.settings["SECRET_KEY"])
        assert json.loads(other.manage("rotate_keys", "--json").stdout)["rotated"] == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a wrong passphrase", "The passphrase is wrong."),
        ("", "The backup is encrypted. Give its passphrase with --passphrase-file or BACKUP_PASSPHRASE."),
    ],
)
def test_a_refused_backup_changes_nothing(tmp_path: Path, backup: Path, given: str, message: str) -> None:
    with new_databases(1) as (database,):
        other = install(tmp_path / "other", database)
        result = other.manage("restore", str(backup), "--json", BACKUP_PASSPHRASE=given)
        assert (result.returncode, result.stdout, result.stderr) == (2, "", f"CommandError: {message}\n")
        assert files(other.data) == {}


def test_an_existing_file_is_not_overwritten(console: Console) -> None:
    taken = console.folder / "taken"
    taken.write_text("precious")
    result = console.manage("backup", "taken")
    assert (result.returncode, "already exists" in result.stderr, taken.read_text()) == (2, True, "precious")


def test_a_log_without_its_key_is_backed_up_with_a_warning(console: Console) -> None:
    key = console.data / "audit-signing-key"
    kept = key.read_bytes()
    key.unlink()
    try:
        result = console.manage("backup", "keyless.backup", "--json")
    finally:
        key.write_bytes(kept)
    (warning,) = json.loads(result.stdout)["warnings"]
    assert warning.startswith("The audit log is not signed: the signing key is missing")
    assert warning in result.stderr and "Not encrypted: anybody who can read the file" in result.stderr


def test_every_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    with new_databases(1) as (database,):
        console = install(tmp_path / "console", database)
        script = """
umask 000
.venv/bin/python manage.py migrate --verbosity 0
.venv/bin/python manage.py backup console.backup
.venv/bin/python manage.py export_audit --output data/audit.jsonl
.venv/bin/python - <<END
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "moderation.settings"
django.setup()
from moderation.audit.models import AuditEntry, AuditJob
from moderation.audit import jobs
jobs.work(AuditJob.objects.create(kind="export", format="csv", actor="ada").pk)
print(oct(os.stat("data/exports").st_mode & 0o777))
# While the database is open, including SQLite's WAL files.
print(*(oct(os.stat(f"data/{name}").st_mode & 0o777) for name in os.listdir("data") if name.startswith("console")))
END
"""
        result = console.run("sh", "-ec", script)
        assert result.returncode == 0, result.stderr
        exports, *beside = result.stdout.splitlines()[-2:]
        assert exports == "0o700"
        assert set(" ".join(beside).split()) <= {"0o600"}
        assert len(" ".join(beside).split()) == (3 if connection.vendor == "sqlite" else 0)
        assert console.data.stat().st_mode & 0o777 == 0o700
        others = {name for name, mode in files(console.data).items() if mode != 0o600}
        assert others <= {"audit-checkpoint"}
        assert (console.folder / "console.backup").stat().st_mode & 0o777 == 0o600


@postgresql
@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "pg_dump is not installed. Install PostgreSQL's client programs, version "),
        ("echo 'pg_dump (PostgreSQL) 9.6.24'", "pg_dump has version 9; "),
        ("[ $1 = --version ] && echo 'pg_dump (PostgreSQL) 99.1' || { echo 'pg_dump: error: no' >&2; exit 1; }", "no."),
    ],
)
def test_an_unusable_client_program_is_named(
    console: Console, tmp_path: Path, script: str | None, message: str
) -> None:
    if script:
        (tmp_path / "pg_dump").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "pg_dump").chmod(0o700)
    result = console.run(
        str(console.folder / ".venv/bin/python"), "manage.py", "backup", "no.backup", PATH=str(tmp_path)
    )
    assert (result.returncode, message in result.stderr) == (2, True), result.stderr
    assert not (console.folder / "no.backup").exists()


@postgresql
def test_a_failed_restore_leaves_the_database_unchanged(console: Console, backup: Path, tmp_path: Path) -> None:
    before = audit_hashes(console)
    (tmp_path / "pg_restore").write_text(
        "#!/bin/sh\ncase $1 in --version) echo 'pg_restore (PostgreSQL) 99.1';; --list) ;; "
        "*) echo 'CREATE TABLE half (way int);'; exit 1;; esac\n"
    )
    (tmp_path / "pg_restore").chmod(0o700)
    path = f"{tmp_path}:{os.environ['PATH']}"
    result = console.manage("restore", str(backup), "--overwrite", BACKUP_PASSPHRASE=PASSPHRASE, PATH=path)
    assert (result.returncode, "nothing was changed" in result.stderr) == (2, True), result.stderr
    assert audit_hashes(console) == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"migrations": ["audit.9999_of_tomorrow"]}, "made by a newer version of the console .it has the migration"),
        ({"engine": "another"}, "The backup is from another database, and DATABASE_URL is"),
    ],
)
def test_an_incompatible_backup_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BackupError, match=message):
        restore.check({"engine": connection.vendor, "migrations": [], **changes}, tmp_path)


@pytest.mark.django_db
def test_a_backup_without_a_database_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(container.DamagedError):
        restore.check({"engine": connection.vendor, "migrations": ["somebody.0001_else"]}, tmp_path)


@pytest.mark.django_db
@postgresql
def test_an_older_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="The backup is from PostgreSQL 99, and this server has version"):
        databases.check_loadable(tmp_path / "database.pgdump", {"database_version": "99"})


def test_a_passphrase_is_read_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "phrase").write_text(f"\ufeff{PASSPHRASE}\r\n", encoding="utf-8")
    assert passphrase.read(str(tmp_path / "phrase"), ask=False, is_new=True) == PASSPHRASE
    monkeypatch.setenv("BACKUP_PASSPHRASE", PASSPHRASE)
    assert passphrase.read(None, ask=False, is_new=True) == PASSPHRASE
    monkeypatch.setenv("BACKUP_PASSPHRASE", "too short")
    assert passphrase.read(None, ask=False, is_new=False) == "too short"
    for refused in ((None, False), (str(tmp_path / "gone"), False), (None, True)):
        with pytest.raises(BackupError):
            passphrase.read(refused[0], ask=refused[1], is_new=True)
    (tmp_path / "phrase").write_text("\n")
    with pytest.raises(BackupError, match="is empty"):
        passphrase.read(str(tmp_path / "phrase"), ask=False, is_new=False)
