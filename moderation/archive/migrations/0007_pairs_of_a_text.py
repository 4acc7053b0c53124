from django.db import migrations

POSTGRESQL = """
CREATE OR REPLACE FUNCTION archive_pairs(words text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT AS $$ BEGIN
    RETURN array_to_tsvector(ARRAY(
        SELECT chr(4096 + (ascii(sign) & 4095))
            || coalesce(chr(256 + (ascii(lead(sign) OVER (ORDER BY place)) & 31)), '')
        FROM unnest(string_to_array(words, NULL)) WITH ORDINALITY AS signs (sign, place)
    ));
END $$;
"""


def install(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(POSTGRESQL)


class Migration(migrations.Migration):
    """What says the pairs of a text on PostgreSQL is read once a connection; what it says is the same."""

    dependencies = [("archive", "0006_media_origins")]

    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
