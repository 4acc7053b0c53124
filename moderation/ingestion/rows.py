"""Hand-written SQL for every delivery, for the reason given in `archive/rows.py`."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from moderation.applications.models import Application
from moderation.archive.rows import TTLCache, insert_statement, values_of
from moderation.ingestion.models import WebhookDelivery

# A secret that was removed stays valid for this long.
_application_cache: TTLCache[str, Application] = TTLCache(seconds=1.0)


def application(slug: str, *, anew: bool = False) -> Application | None:
    """The application with this short name or None, at most a second old; `anew`: bypass the cache.

    Loads only the fields that a delivery needs.
    """
    if not anew and (application := _application_cache.get(slug)):
        return application
    names = ("id", "slug", "secret_keys_sealed")
    columns = ", ".join(f'"{name}"' for name in names)
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT {columns} FROM "{Application._meta.db_table}" WHERE "slug" = %s', [slug])  # noqa: S608
        row = cursor.fetchone()
    if row is None:
        return None
    application = Application.from_db(connection.alias, names, row)
    _application_cache.put(slug, application)
    return application


def insert_deliveries(deliveries: Sequence[WebhookDelivery]) -> set[str]:
    """Insert those of `deliveries` whose content is new; callers sort them by SHA-256, to avoid deadlocks.

    Returns the SHA-256 of each inserted one. Waits for the end of any other transaction that is inserting the same.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f'{insert_statement(WebhookDelivery, len(deliveries))} ON CONFLICT DO NOTHING RETURNING "sha256"',
            [value for delivery in deliveries for value in values_of(delivery)],
        )
        return {sha256 for (sha256,) in cursor.fetchall()}
