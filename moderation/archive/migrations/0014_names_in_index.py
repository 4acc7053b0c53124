from django.db import migrations, models

POSTGRESQL = [
    "DROP INDEX CONCURRENTLY IF EXISTS archive_sendergrams",
    "CREATE INDEX CONCURRENTLY archive_sendergrams ON archive_sender USING gin (archive_grams(words))",
    """
CREATE OR REPLACE FUNCTION archive_senders_with(grams tsquery, most bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE STRICT SET enable_seqscan = off AS $$
    SELECT id FROM archive_sender WHERE archive_grams(words) @@ grams LIMIT most
$$
""",
]
POSTGRESQL_BACKWARDS = [
    "DROP FUNCTION IF EXISTS archive_senders_with(tsquery, bigint)",
    "DROP INDEX IF EXISTS archive_sendergrams",
]
SQLITE = [
    "CREATE VIRTUAL TABLE IF NOT EXISTS archive_sendergrams USING "
    "fts5(grams, content='', detail=none, columnsize=0, tokenize='ascii')",
]
SQLITE_BACKWARDS = ["DROP TABLE IF EXISTS archive_sendergrams"]


def install(apps, schema_editor):
    _run(schema_editor, POSTGRESQL, SQLITE)


def remove(apps, schema_editor):
    _run(schema_editor, POSTGRESQL_BACKWARDS, SQLITE_BACKWARDS)


def _run(schema_editor, postgresql, sqlite):
    with schema_editor.connection.cursor() as cursor:
        for statement in postgresql if schema_editor.connection.vendor == "postgresql" else sqlite:
            cursor.execute(statement)


class Migration(migrations.Migration):
    """The worker fills it."""

    atomic = False

    dependencies = [("archive", "0013_grams")]

    operations = [
        migrations.AddField("sender", "words", models.TextField(editable=False, null=True)),
        migrations.AddField("sender", "rules", models.PositiveIntegerField(editable=False, null=True)),
        migrations.AddIndex("sender", models.Index(fields=["rules"], name="sender_by_rules")),
        migrations.RunPython(install, remove),
    ]
