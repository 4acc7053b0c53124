import django.db.models.deletion
from django.db import migrations, models

POSTGRESQL = """
CREATE OR REPLACE FUNCTION archive_pairs(words text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT AS $$ BEGIN
    RETURN array_to_tsvector(ARRAY(
        SELECT chr(4096 + (ascii(sign) & 4095))
            || coalesce(chr(256 + (ascii(lead(sign) OVER (ORDER BY place)) & 31)), '')
        FROM unnest(string_to_array(words, NULL)) WITH ORDINALITY AS signs (sign, place)
    ));
END $$;
CREATE INDEX IF NOT EXISTS archive_searchpairs ON archive_searchtext USING gin (archive_pairs(text)) WITH (gin_pending_list_limit = 1024);
CREATE OR REPLACE FUNCTION archive_candidates(pairs tsquery, most bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE STRICT SET enable_seqscan = off AS $$
    SELECT message_id FROM archive_searchtext WHERE archive_pairs(text) @@ pairs LIMIT most
$$;
"""
POSTGRESQL_BACKWARDS = """
DROP FUNCTION IF EXISTS archive_candidates(tsquery, bigint);
DROP INDEX IF EXISTS archive_searchpairs;
DROP FUNCTION IF EXISTS archive_pairs(text);
"""
SQLITE = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS archive_searchpairs USING "
    "fts5(pairs, content='', detail=none, columnsize=0, tokenize='ascii')"
)
SQLITE_BACKWARDS = "DROP TABLE IF EXISTS archive_searchpairs"


def install(apps, schema_editor):
    _run(schema_editor, POSTGRESQL, SQLITE)


def remove(apps, schema_editor):
    _run(schema_editor, POSTGRESQL_BACKWARDS, SQLITE_BACKWARDS)


def _run(schema_editor, postgresql, sqlite):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(postgresql if schema_editor.connection.vendor == "postgresql" else sqlite)


def begin(apps, schema_editor):
    """What is in the archive by now is made searchable by the worker, in small pieces."""
    newest = apps.get_model("archive", "Message").objects.order_by("-pk").values_list("pk", flat=True).first()
    apps.get_model("archive", "SearchProgress").objects.create(pk=1, older=newest or 0)


class Migration(migrations.Migration):

    dependencies = [
        ("archive", "0003_webhook"),
    ]

    operations = [
        migrations.CreateModel(
            name='SearchProgress',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('done', models.BigIntegerField(default=0)),
                ('older', models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='SearchText',
            fields=[
                ('message', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, serialize=False, to='archive.message')),
                ('text', models.TextField()),
            ],
        ),
        migrations.RunPython(install, remove),
        migrations.RunPython(begin, migrations.RunPython.noop),
    ]
