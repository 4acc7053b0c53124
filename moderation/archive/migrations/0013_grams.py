from django.db import migrations

# One statement at a time: an index that is built beside writers cannot be built in a transaction.
POSTGRESQL = [
    # The letters are before U+001F, the signs after it. What this says, `search.grams_of` says.
    """
CREATE OR REPLACE FUNCTION archive_grams(words text) RETURNS tsvector
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
    # One that was broken off is there and of no use.
    "DROP INDEX CONCURRENTLY IF EXISTS archive_searchgrams",
    "CREATE INDEX CONCURRENTLY archive_searchgrams ON archive_searchtext USING gin (archive_grams(coalesce(words, text))) "
    "WITH (gin_pending_list_limit = 1024)",
    # By the index alone: left to choose, PostgreSQL reads every message for what is frequent, which takes seconds.
    """
CREATE OR REPLACE FUNCTION archive_messages_with(grams tsquery, most bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE STRICT SET enable_seqscan = off AS $$
    SELECT message_id FROM archive_searchtext WHERE archive_grams(coalesce(words, text)) @@ grams LIMIT most
$$
""",
    "DROP FUNCTION IF EXISTS archive_candidates(tsquery, bigint)",
    "DROP INDEX CONCURRENTLY IF EXISTS archive_searchpairs",
    "DROP FUNCTION IF EXISTS archive_pairs(text)",
]
SQLITE = [
    "CREATE VIRTUAL TABLE IF NOT EXISTS archive_searchgrams USING "
    "fts5(grams, content='', detail=none, columnsize=0, tokenize='ascii')",
    "DROP TABLE IF EXISTS archive_searchpairs",
]


POSTGRESQL_BACKWARDS = [
    """
CREATE OR REPLACE FUNCTION archive_pairs(words text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT AS $$ BEGIN
    RETURN array_to_tsvector(ARRAY(
        SELECT chr(4096 + (ascii(sign) & 4095))
            || coalesce(chr(256 + (ascii(lead(sign) OVER (ORDER BY place)) & 31)), '')
        FROM unnest(string_to_array(words, NULL)) WITH ORDINALITY AS signs (sign, place)
    ));
END $$
""",
    "CREATE INDEX IF NOT EXISTS archive_searchpairs ON archive_searchtext USING gin (archive_pairs(text)) "
    "WITH (gin_pending_list_limit = 1024)",
    """
CREATE OR REPLACE FUNCTION archive_candidates(pairs tsquery, most bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE STRICT SET enable_seqscan = off AS $$
    SELECT message_id FROM archive_searchtext WHERE archive_pairs(text) @@ pairs LIMIT most
$$
""",
    "DROP FUNCTION IF EXISTS archive_messages_with(tsquery, bigint)",
    "DROP INDEX IF EXISTS archive_searchgrams",
    "DROP FUNCTION IF EXISTS archive_grams(text)",
]
# The worker of the older version then indexes all messages.
SQLITE_BACKWARDS = [
    "CREATE VIRTUAL TABLE IF NOT EXISTS archive_searchpairs USING "
    "fts5(pairs, content='', detail=none, columnsize=0, tokenize='ascii')",
    "DROP TABLE IF EXISTS archive_searchgrams",
    "DELETE FROM archive_searchtext",
    "UPDATE archive_searchprogress SET done = 0",
]


def install(apps, schema_editor):
    _run(schema_editor, POSTGRESQL, SQLITE)


def remove(apps, schema_editor):
    _run(schema_editor, POSTGRESQL_BACKWARDS, SQLITE_BACKWARDS)


def _run(schema_editor, postgresql, sqlite):
    with schema_editor.connection.cursor() as cursor:
        for statement in postgresql if schema_editor.connection.vendor == "postgresql" else sqlite:
            cursor.execute(statement)


class Migration(migrations.Migration):
    """Older messages are indexed by the worker, on SQLite and where their words are compared otherwise than before."""

    atomic = False

    dependencies = [("archive", "0012_normalised_words")]

    operations = [migrations.RunPython(install, remove)]
