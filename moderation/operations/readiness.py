"""Whether the database and the static files are those of this version; a sentence that says what to do when not."""

from __future__ import annotations

import json
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.db import Error, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor


def unapplied_migrations() -> list[str]:
    """Names of the migrations that the database lacks. Raises DatabaseError when it does not answer."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [str(migration) for migration, _is_backwards in plan]


def migrations_problem() -> str:
    """A sentence that says that the database is not migrated; empty when it is."""
    if not (names := unapplied_migrations()):
        return ""
    return f"The database lacks {len(names)} migrations ({names[0]} first). Run: python manage.py migrate"


def database_problem(error: Error) -> str:
    """Message for a command that failed with `error`: the database is unreachable, not migrated or not usable now.

    Empty for any other error, which is a bug.
    """
    if problem := _connection_problem():
        return f"The database does not answer: {problem}"
    if message := migrations_problem():
        return message
    return f"The database cannot be used now: {error}" if isinstance(error, OperationalError) else ""


def _connection_problem() -> str:
    """One line on why the database cannot be connected to; empty if it can."""
    # Without the pool, whose error only says how long it waited.
    probe = connection.copy()
    probe.settings_dict["OPTIONS"].pop("pool", None)
    try:
        probe.ensure_connection()
    except Error as problem:
        return (str(problem).splitlines() or [""])[0]
    finally:
        probe.close()
    return ""


def static_files_problem() -> str:
    """A sentence that says that static files of this version are not collected; empty when they are."""
    if "Manifest" not in settings.STORAGES["staticfiles"]["BACKEND"]:
        return ""
    advice = "Run: python manage.py collectstatic --no-input"
    try:
        collected = json.loads((Path(settings.STATIC_ROOT) / "staticfiles.json").read_text())["paths"]
    except OSError:
        return f"The static files are not collected in {settings.STATIC_ROOT}. {advice}"
    except (ValueError, KeyError):
        return f"The static files in {settings.STATIC_ROOT} were not collected to the end. {advice}"
    missing = [name for finder in get_finders() for name, _storage in finder.list([]) if name not in collected]
    if missing:
        return f"The static files in {settings.STATIC_ROOT} are another version's: {missing[0]} is missing. {advice}"
    return ""
