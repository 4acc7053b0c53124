import django.db.models.deletion
from django.db import migrations, models


INSTALL = {
    "postgresql": [
        # The letters are before U+001F, the signs after it. What this says, `grams_of` of the search says.
        """
CREATE OR REPLACE FUNCTION search_grams(words text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT AS $$ BEGIN
    RETURN array_to_tsvector(ARRAY(
        SELECT CASE WHEN code >= 11904 THEN chr(4096 + (code & 4095)) || coalesce(chr(256 + (second & 31)), '')
            ELSE chr(1024 + (code & 255)) || coalesce(chr(1024 + (second & 255)), '')
                || coalesce(chr(1024 + (third & 255)), '')
            END
        FROM (
            SELECT code, lead(code) OVER place AS second, lead(code, 2) OVER place AS third
            FROM (
                SELECT ascii(letter) AS code, number
                FROM unnest(string_to_array(split_part(words, chr(31), 1), NULL)) WITH ORDINALITY AS t (letter, number)
            ) AS codes
            WINDOW place AS (ORDER BY number)
        ) AS grams
        UNION ALL
        SELECT chr(20480 + (ascii(sign) & 1023))
        FROM unnest(string_to_array(split_part(words, chr(31), 2), NULL)) AS sign
    ));
END $$
""",
        "CREATE INDEX search_searchgrams ON search_searchtext USING gin (search_grams(words)) "
        "WITH (gin_pending_list_limit = 1024)",
        # By the index alone: left to choose, PostgreSQL reads every message for what is frequent, which takes seconds.
        """
CREATE OR REPLACE FUNCTION search_messages_with(grams tsquery, most bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE STRICT SET enable_seqscan = off AS $$
    SELECT message_id FROM search_searchtext WHERE search_grams(words) @@ grams LIMIT most
$$
""",
        "CREATE INDEX search_sendergrams ON archive_sender USING gin (search_grams(words))",
        """
CREATE OR REPLACE FUNCTION search_senders_with(grams tsquery, most bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE STRICT SET enable_seqscan = off AS $$
    SELECT id FROM archive_sender WHERE search_grams(words) @@ grams LIMIT most
$$
""",
    ],
    "sqlite": [
        f"CREATE VIRTUAL TABLE {table} USING fts5(grams, content='', detail=none, columnsize=0, tokenize='ascii')"
        for table in ("search_searchgrams", "search_sendergrams")
    ],
}
REMOVE = {
    "postgresql": [
        "DROP FUNCTION search_senders_with(tsquery, bigint)",
        "DROP INDEX search_sendergrams",
        "DROP FUNCTION search_messages_with(tsquery, bigint)",
        "DROP INDEX search_searchgrams",
        "DROP FUNCTION search_grams(text)",
    ],
    "sqlite": ["DROP TABLE search_sendergrams", "DROP TABLE search_searchgrams"],
}


def install(apps, schema_editor):
    """Make the indexes of grams that Django has no name for: both engines side by side."""
    _run(schema_editor, INSTALL)


def remove(apps, schema_editor):
    _run(schema_editor, REMOVE)


def _run(schema_editor, statements):
    with schema_editor.connection.cursor() as cursor:
        for statement in statements[schema_editor.connection.vendor]:
            cursor.execute(statement)


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('archive', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='SearchProgress',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('rules', models.PositiveIntegerField(default=0)),
                ('done', models.BigIntegerField(default=0)),
                ('older', models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='SearchText',
            fields=[
                ('message', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, serialize=False, to='archive.message')),
                ('text', models.TextField()),
                ('words', models.TextField(editable=False)),
                ('rules', models.PositiveIntegerField(editable=False)),
            ],
        ),
        migrations.RunPython(install, remove),
    ]
