"""Copy a database to a file and back: SQLite by its backup API, PostgreSQL by its client programs."""

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db import connection, connections

from moderation.operations.container import BackupError

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
MEMBERS = {"sqlite": "database.sqlite3", "postgresql": "database.pgdump"}
# Drops everything in the console's schema: tables with their sequences and triggers, then the trigger functions.
EMPTY_SCHEMA = """
BEGIN;
SET LOCAL lock_timeout = '10s';
SET LOCAL client_min_messages = warning;
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = current_schema() LOOP
    EXECUTE 'DROP TABLE ' || name || ' CASCADE';
  END LOOP;
  FOR name IN SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e') LOOP
    EXECUTE 'DROP ROUTINE ' || name || ' CASCADE';
  END LOOP;
END $$;
"""
OTHER_CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def version() -> str:
    """Version of SQLite or of the PostgreSQL server."""
    if connection.vendor == "sqlite":
        return sqlite3.sqlite_version
    connection.ensure_connection()
    return str(server_version())


def server_version() -> int:
    """Major version of the PostgreSQL server."""
    return int(connection.pg_version) // 10_000  # type: ignore[attr-defined]


def dump(target: Path) -> None:
    """Copy a consistent snapshot of the database while others write to it. Raises BackupError, OSError."""
    if connection.vendor == "postgresql":
        require_programs("pg_dump", version=server_version())
        run_program("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")
        return
    source = sqlite3.connect(f"{sqlite_file().as_uri()}?mode=ro", uri=True)
    copy = sqlite3.connect(target)
    try:
        # In one step: other processes can write to the WAL meanwhile.
        source.backup(copy)
        # A single file without a WAL.
        copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as problem:
        raise BackupError(f"The database cannot be copied: {problem}.") from None
    finally:
        copy.close()
        source.close()


def check_loadable(source: Path, manifest: dict[str, Any]) -> None:
    """Raise BackupError if the copy in `source` cannot be loaded into this database. Changes nothing."""
    if connection.vendor == "postgresql":
        made = int(manifest["database_version"])
        if server_version() < made:
            raise BackupError(
                f"The backup is from PostgreSQL {made}, and this server has version {server_version()}. Restore it on "
                f"a server of version {made} or newer."
            )
        require_programs("pg_restore", "psql", version=max(made, server_version()))
        run_program("pg_restore", "--list", str(source), database=False)


def refuse_if_in_use() -> None:
    """Raise BackupError if another process is connected to the database."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(OTHER_CONNECTIONS)
            others = cursor.fetchone()[0] - pooled_connections()
        in_use = others > 0
    else:
        connections.close_all()
        path = sqlite_file()
        in_use = path.exists() and path.stat().st_size > 0 and is_open_elsewhere(path)
    if in_use:
        raise BackupError("The database is in use. Stop the web processes and workers first.")


def pooled_connections() -> int:
    """Number of connections in this process's pool besides the one in use."""
    pool = getattr(connection, "pool", None)
    return int(pool.get_stats().get("pool_size", 1)) - 1 if pool else 0


def is_open_elsewhere(path: Path) -> bool:
    """Whether another process has the SQLite file open; if not, its WAL is empty afterwards."""
    own = sqlite3.connect(path, timeout=1, isolation_level=None)
    try:
        own.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError:
        return True
    except sqlite3.DatabaseError:
        # The file is not a valid database, which may be why it is being restored.
        return False
    finally:
        own.close()
    return False


def load(source: Path) -> list[Path]:
    """Replace the database by the copy in `source`; return the files of the former one that were kept.

    Raises BackupError and OSError, and then leaves the database unchanged.
    """
    connections.close_all()
    if connection.vendor == "postgresql":
        connection.close_pool()  # type: ignore[attr-defined]
        load_dump(source)
        return []
    path = sqlite_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.restoring")
    try:
        shutil.copyfile(source, staged)
        with open(staged, "rb+") as file:
            os.fsync(file.fileno())
        kept = [kept for end in ("", "-wal", "-shm") for kept in keep_aside(path.with_name(path.name + end))]
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)
    return kept


def load_dump(source: Path) -> None:
    """Empty the schema and load a pg_dump file, in one transaction."""
    arguments, environment = client_arguments()
    errors = subprocess.PIPE
    with (
        subprocess.Popen(  # noqa: S603 - no shell, no user input
            ["psql", "--no-psqlrc", "--quiet", "--output", os.devnull, "--set", "ON_ERROR_STOP=1", *arguments],  # noqa: S607
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
        ) as psql,
        subprocess.Popen(  # noqa: S603
            ["pg_restore", "--no-owner", "--no-privileges", "--file=-", str(source)],  # noqa: S607
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as restore,
    ):
        assert psql.stdin and restore.stdout and psql.stderr  # noqa: S101 - for mypy
        try:
            psql.stdin.write(EMPTY_SCHEMA.encode())
            shutil.copyfileobj(restore.stdout, psql.stdin, 1024 * 1024)
            # Without COMMIT the transaction is rolled back.
            if restore.wait() == 0:
                psql.stdin.write(b"\nCOMMIT;\n")
            psql.stdin.close()
        except BrokenPipeError:
            restore.kill()
        output = psql.stderr.read().decode(errors="replace")
        if psql.wait() != 0 or restore.wait() != 0:
            raise BackupError(f"PostgreSQL refused the backup; nothing was changed: {first_error(output)}.")


def sqlite_file() -> Path:
    """Path of the SQLite database. Raises BackupError for one in memory."""
    name = str(connection.settings_dict["NAME"])
    if name == ":memory:":
        raise BackupError("The database is in memory and has no file.")
    return Path(name).absolute()


def keep_aside(path: Path) -> list[Path]:
    """Rename a file, if it exists, to make room for another; return its new path."""
    if not path.exists():
        return []
    kept = path.with_name(f"{path.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    os.rename(path, kept)
    return [kept]


def client_arguments() -> tuple[list[str], dict[str, str]]:
    """Arguments and environment for PostgreSQL's client programs; the password is in the environment."""
    command, environment = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    return list(command[1:]), {**os.environ, **(environment or {})}


def require_programs(*names: str, version: int) -> None:
    """Raise BackupError unless these PostgreSQL client programs are installed, in `version` or newer."""
    for name in names:
        try:
            printed = subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
        except (OSError, subprocess.CalledProcessError):
            raise BackupError(
                f"{name} is not installed. Install PostgreSQL's client programs, version {version} or newer (Debian: "
                "postgresql-client)."
            ) from None
        match = re.search(r"\) (\d+)", printed)
        if match and int(match[1]) < version:
            raise BackupError(
                f"{name} has version {match[1]}; {version} or newer is needed. Install PostgreSQL's client programs "
                "of that version."
            )


def run_program(name: str, *arguments: str, database: bool = True) -> None:
    """Run a PostgreSQL client program. Raises BackupError with the first error that it prints."""
    connection_arguments, environment = client_arguments()
    command: Sequence[str] = [name, *arguments, *(connection_arguments if database else [])]
    result = subprocess.run(  # noqa: S603 - no shell
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    if result.returncode:
        raise BackupError(f"{name} failed: {first_error(result.stderr.decode(errors='replace'))}.")


def first_error(output: str) -> str:
    """First error in the output of a program, without details, which may contain rows."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no reason given"])[0][:300].rstrip(".")
