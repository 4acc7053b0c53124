"""`manage.py backup` and `restore`, on both engines: what is refused, what is kept, and what is said."""

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

from .consoles import Console, install, use
from .consoles import databases as new_databases

PASSPHRASE = "correct horse battery staple"
postgresql = pytest.mark.skipif("postgres" not in os.environ.get("DATABASE_URL", ""), reason="PostgreSQL alone")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console that was used."""
    with new_databases(1) as (database,):
        made = install(tmp_path_factory.mktemp("used") / "console", database)
        use(made)
        assert made.manage("audit_checkpoint").returncode == 0
        yield made


@pytest.fixture(scope="module")
def backup(console: Console) -> Path:
    """An encrypted backup of it."""
    done = console.manage("backup", "kept.backup", "--json", BACKUP_PASSPHRASE=PASSPHRASE)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["encrypted"], document["warnings"], document["engine"]) == (True, [], connection.vendor)
    assert document["bytes"] == Path(document["file"]).stat().st_size
    return console.folder / "kept.backup"


def files(folder: Path) -> dict[str, int]:
    """Every file below `folder` with its permissions, code left out."""
    return {file.name: file.stat().st_mode & 0o777 for file in folder.rglob("*") if file.is_file()}


def dump(console: Console) -> str:
    """The seqs and hashes of its log."""
    query = "SELECT seq, hash FROM audit_auditseal ORDER BY seq"
    if connection.vendor == "sqlite":
        with closing(sqlite3.connect(console.data / "console.sqlite3")) as database:
            return str(database.execute(query).fetchall())
    with psycopg.connect(console.settings["DATABASE_URL"]) as server:
        return str(server.execute(query).fetchall())


def test_a_database_that_is_not_empty_is_replaced_only_with_overwrite(console: Console, backup: Path) -> None:
    before, kept = dump(console), files(console.data)
    done = console.manage("restore", str(backup), BACKUP_PASSPHRASE=PASSPHRASE)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "CommandError: The database is not empty. Add --overwrite to replace it by the backup.\n"
    assert (dump(console), files(console.data).keys() - kept.keys()) == (before, set())
    done = console.manage("restore", str(backup), "--overwrite", "--json", BACKUP_PASSPHRASE=PASSPHRASE)
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (found["audit"]["problem"], found["keys_that_cannot_be_opened"]) == (None, 0)
    assert found["settings_that_differ"] == []
    aside = {Path(name).name.partition(".replaced-")[0] for name in found["kept_aside"]}
    assert aside == ({"console.sqlite3"} if connection.vendor == "sqlite" else set())
    log = console.manage("export_audit").stdout
    (entry,) = [each for each in map(json.loads, log.splitlines()) if each["action"] == "backup.restored"]
    assert entry["detail"]["overwritten"]["entries"] == before.count("(")
    assert dump(console).startswith(before[:-1])


def test_a_database_in_use_is_not_replaced(console: Console, backup: Path) -> None:
    if connection.vendor == "sqlite":
        other: Any = sqlite3.connect(console.data / "console.sqlite3")
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("SELECT count(*) FROM django_migrations").fetchone()
    else:
        other = psycopg.connect(console.settings["DATABASE_URL"])
    with closing(other):
        done = console.manage("restore", str(backup), "--overwrite", BACKUP_PASSPHRASE=PASSPHRASE)
    assert (done.returncode, "The database is in use. Stop the web processes" in done.stderr) == (2, True), done.stderr


def test_other_settings_are_named_and_never_shown(tmp_path: Path, console: Console, backup: Path) -> None:
    with new_databases(1) as (database,):
        other = install(tmp_path / "other", database, GOEASY_CONCURRENCY="3")
        done = other.manage("restore", str(backup), BACKUP_PASSPHRASE=PASSPHRASE)
        assert done.returncode == 0, done.stderr
        assert "differ from those of the backup: GOEASY_CONCURRENCY, SECRET_KEY." in done.stdout
        assert "Stored keys that cannot be opened: 1." in done.stdout
        for secret in (other.settings["SECRET_KEY"], console.settings["SECRET_KEY"], "BC-fedcba9876543210", PASSPHRASE):
            assert secret not in done.stdout + done.stderr
        # With the former key among the fallbacks they are opened, and then encrypted anew.
        other.write_env(FIELD_ENCRYPTION_KEY_FALLBACKS=console.settings["SECRET_KEY"])
        assert json.loads(other.manage("rotate_keys", "--json").stdout)["rotated"] == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a wrong passphrase", "The passphrase is wrong."),
        ("", "The backup is encrypted: give its passphrase with --passphrase-file or BACKUP_PASSPHRASE."),
    ],
)
def test_a_refused_file_changes_nothing(tmp_path: Path, backup: Path, given: str, said: str) -> None:
    with new_databases(1) as (database,):
        other = install(tmp_path / "other", database)
        done = other.manage("restore", str(backup), "--json", BACKUP_PASSPHRASE=given)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"CommandError: {said}\n")
        assert files(other.data) == {}


def test_a_file_that_exists_is_not_written_over(console: Console) -> None:
    taken = console.folder / "taken"
    taken.write_text("precious")
    done = console.manage("backup", "taken")
    assert (done.returncode, "exists already" in done.stderr, taken.read_text()) == (2, True, "precious")


def test_a_log_without_its_key_is_backed_up_with_a_warning(console: Console) -> None:
    key = console.data / "audit-signing-key"
    kept = key.read_bytes()
    key.unlink()
    try:
        done = console.manage("backup", "keyless.backup", "--json")
    finally:
        key.write_bytes(kept)
    (warning,) = json.loads(done.stdout)["warnings"]
    assert warning.startswith("The audit log is not signed: the signing key is missing")
    assert warning in done.stderr and "Not encrypted: whoever reads the file" in done.stderr


def test_every_file_is_for_its_owner_alone(tmp_path: Path) -> None:
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
# While the database is open, with what SQLite keeps beside it.
print(*(oct(os.stat(f"data/{name}").st_mode & 0o777) for name in os.listdir("data") if name.startswith("console")))
END
"""
        done = console.run("sh", "-ec", script)
        assert done.returncode == 0, done.stderr
        exports, *beside = done.stdout.splitlines()[-2:]
        assert exports == "0o700"
        assert set(" ".join(beside).split()) <= {"0o600"}
        assert len(" ".join(beside).split()) == (3 if connection.vendor == "sqlite" else 0)
        assert console.data.stat().st_mode & 0o777 == 0o700
        others = {name for name, mode in files(console.data).items() if mode != 0o600}
        assert others <= {"audit-checkpoint"}
        assert (console.folder / "console.backup").stat().st_mode & 0o777 == 0o600


@postgresql
@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "pg_dump is not installed. Install PostgreSQL's client programs, version "),
        ("echo 'pg_dump (PostgreSQL) 9.6.24'", "pg_dump is of version 9: it must be "),
        ("[ $1 = --version ] && echo 'pg_dump (PostgreSQL) 99.1' || { echo 'pg_dump: error: no' >&2; exit 1; }", "no."),
    ],
)
def test_client_programs_that_cannot_be_used_are_named(
    console: Console, tmp_path: Path, script: str | None, said: str
) -> None:
    if script:
        (tmp_path / "pg_dump").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "pg_dump").chmod(0o700)
    done = console.run(str(console.folder / ".venv/bin/python"), "manage.py", "backup", "no.backup", PATH=str(tmp_path))
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (console.folder / "no.backup").exists()


@postgresql
def test_a_restore_that_fails_half_way_leaves_the_database_as_it_was(
    console: Console, backup: Path, tmp_path: Path
) -> None:
    before = dump(console)
    (tmp_path / "pg_restore").write_text(
        "#!/bin/sh\ncase $1 in --version) echo 'pg_restore (PostgreSQL) 99.1';; --list) ;; "
        "*) echo 'CREATE TABLE half (way int);'; exit 1;; esac\n"
    )
    (tmp_path / "pg_restore").chmod(0o700)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = console.manage("restore", str(backup), "--overwrite", BACKUP_PASSPHRASE=PASSPHRASE, PATH=path)
    assert (done.returncode, "nothing was changed" in done.stderr) == (2, True), done.stderr
    assert dump(console) == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"migrations": ["audit.9999_of_tomorrow"]}, "made by a newer version of the console .it has the migration"),
        ({"engine": "another"}, "The backup is of another database, and DATABASE_URL is"),
    ],
)
def test_a_backup_that_this_console_cannot_take_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BackupError, match=said):
        restore.check({"engine": connection.vendor, "migrations": [], **changes}, tmp_path)


@pytest.mark.django_db
def test_a_backup_without_a_database_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(container.DamagedError):
        restore.check({"engine": connection.vendor, "migrations": ["somebody.0001_else"]}, tmp_path)


@pytest.mark.django_db
@postgresql
def test_an_older_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="The backup is of PostgreSQL 99, and this server is of version"):
        databases.check_loadable(tmp_path / "database.pgdump", {"database_version": "99"})


def test_a_passphrase_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
