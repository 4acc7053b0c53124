"""Checks of the database before the console serves or sends anything."""

from contextlib import suppress
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper


def check_encoding(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Raise ImproperlyConfigured for a PostgreSQL database that cannot store every character.

    A receiver of `connection_created`: the server reports its encoding for each new connection.
    """
    if connection.vendor != "postgresql" or connection.alias != "default":
        return
    encoding = connection.connection.info.parameter_status("server_encoding")
    if encoding not in (None, "UTF8"):
        # Otherwise the next caller would use this connection unchecked.
        connection.close()
        raise ImproperlyConfigured(
            f"DATABASE_URL cannot be used: the encoding of the database is {encoding}, and it must be UTF8. Create "
            "another one: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
        )


def refuse_unusable_database() -> None:
    """Raise ImproperlyConfigured for an unsuitable database; ignore one that is unreachable now."""
    if connection.vendor != "postgresql":
        return
    # Bypass the pool: it would wait for an unreachable server, and must not be opened before processes fork.
    probe = connection.copy()
    probe.settings_dict["OPTIONS"].pop("pool", None)
    with suppress(OperationalError):
        probe.ensure_connection()
    probe.close()
