"""Separate consoles for tests: a folder with the code, a .env, and a database on the engine under test."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection

ROOT = Path(__file__).resolve().parent.parent.parent
CODE = ("manage.py", "moderation", "recall", "templates")
CREATE_ROWS = """
from moderation.accounts.models import User
from moderation.applications.models import Application
User.objects.create_user("ada", password="correct horse battery staple", role="admin")
application = Application(slug="second", name="Second")
application.set_appkey("BC-fedcba9876543210")
application.save()
"""


def base_environment() -> dict[str, str]:
    """Variables of the tests' environment that a console needs."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


@dataclass
class Console:
    """A console: its folder and the settings in its .env."""

    folder: Path
    settings: dict[str, str]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder, with the settings of .env and `environment` only."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**base_environment(), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of manage.py in the same way, in the background."""
        command = [".venv/bin/python", "manage.py", *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=base_environment(), stderr=subprocess.DEVNULL)

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(".venv/bin/python", "manage.py", *arguments, **environment)

    def write_env(self, **changes: str) -> None:
        """Update the settings and write .env."""
        self.settings = {**self.settings, **changes}
        lines = [f"{name}={value}\n" for name, value in self.settings.items()]
        (self.folder / ".env").write_text("".join(lines))


def install(folder: Path, database: str, **settings: str) -> Console:
    """Install the code and a .env; the database has no tables yet."""
    folder.mkdir()
    for name in CODE:
        source = ROOT / name
        if source.is_dir():
            # Compiled files stay valid: times are copied, too.
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
    (folder / "static").mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    console = Console(folder, {"SECRET_KEY": secrets.token_urlsafe(50), "DATABASE_URL": database, **settings})
    console.write_env()
    return console


def populate(console: Console) -> None:
    """Create the tables, an account, and an application with a stored key."""
    result = console.manage("migrate", "--verbosity", "0")
    assert result.returncode == 0, result.stderr
    result = console.manage("shell", "--verbosity", "0", "--command", CREATE_ROWS)
    assert result.returncode == 0, result.stderr


@contextmanager
def databases(count: int, options: str = "") -> Iterator[list[str]]:
    """URLs of new, empty databases on the engine under test; on SQLite the default in DATA_DIR."""
    if connection.vendor == "sqlite":
        yield [""] * count
        return
    database: dict[str, Any] = connection.settings_dict
    server = {
        "host": database["HOST"],
        "port": database["PORT"],
        "user": database["USER"],
        "password": database["PASSWORD"],
    }
    names = [f"console_{uuid.uuid4().hex[:12]}" for _ in range(count)]
    with psycopg.connect(dbname="postgres", autocommit=True, **server) as admin:
        for name in names:
            admin.execute(f"CREATE DATABASE {name} {options}")
        try:
            server_url = "{USER}:{PASSWORD}@{HOST}:{PORT}".format_map(database)
            yield [f"postgres://{server_url}/{name}" for name in names]
        finally:
            for name in names:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
