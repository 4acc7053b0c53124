"""The statements that every delivery runs, written out, as those of `archive/rows.py` are."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from moderation.applications.models import Application
from moderation.archive.rows import TTLCache, insert_statement, values_of
from moderation.ingestion.models import WebhookDelivery

# A secret that was taken back is believed for so long.
_application_cache: TTLCache[str, Application] = TTLCache(seconds=1.0)


def application(slug: str, *, anew: bool = False) -> Application | None:
    """The application with this short name, if there is one, as it was a second ago at the earliest; `anew`: as it is.

    Only what a delivery needs of it is read.
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
    """Write those of `deliveries` whose content is not there yet; give them in one order everywhere.

    Returns the SHA-256 of what was written. Where another transaction is about to write the same, its end is
    waited for.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f'{insert_statement(WebhookDelivery, len(deliveries))} ON CONFLICT DO NOTHING RETURNING "sha256"',
            [value for delivery in deliveries for value in values_of(delivery)],
        )
        return {sha256 for (sha256,) in cursor.fetchall()}
