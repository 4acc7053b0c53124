"""The console does not start on a PostgreSQL database that cannot store every character."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection

from .consoles import databases, install


@pytest.mark.parametrize(
    "options",
    [
        "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
        "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    ],
)
def test_an_unsuitable_encoding_prevents_every_start(tmp_path: Path, options: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite keeps text in UTF-8")
    with databases(1, options) as (database,):
        console = install(tmp_path / "console", database)
        for command in (["manage.py", "migrate"], ["manage.py", "worker"], ["-c", "import moderation.wsgi"]):
            result = console.run(".venv/bin/python", *command)
            assert result.returncode != 0
            message = f"DATABASE_URL cannot be used: the encoding of the database is {options.split(chr(39))[1]}, "
            assert message in result.stderr
            if command[0] == "manage.py":
                assert result.stderr.startswith(message), result.stderr
