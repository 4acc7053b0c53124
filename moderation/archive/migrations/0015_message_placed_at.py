from django.db import migrations, models

EARLIEST = 1_262_304_000_000
DAY_MS = 86_400_000

# When a row was written, in ms.
SEEN = {
    "postgresql": "floor(extract(epoch FROM seen_at) * 1000)::bigint",
    "sqlite": "CAST(strftime('%s', seen_at) AS INTEGER) * 1000",
}
NOW = {
    "postgresql": "floor(extract(epoch FROM now()) * 1000)::bigint",
    "sqlite": "CAST(strftime('%s', 'now') AS INTEGER) * 1000",
}


def place_by_arrival(apps, schema_editor):
    """Messages whose time is not plausible stand where they arrived; what such times had set ends with today."""
    seen, now = SEEN[schema_editor.connection.vendor], NOW[schema_editor.connection.vendor]
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE archive_message SET placed_at = {seen} "
            f"WHERE timestamp < {EARLIEST} OR timestamp > {seen} + {DAY_MS}"
        )
        cursor.execute(
            f"UPDATE archive_conversation SET last_timestamp = COALESCE((SELECT max(COALESCE(placed_at, timestamp)) "
            f"FROM archive_message WHERE conversation_id = archive_conversation.id), 0) "
            f"WHERE last_timestamp > {now} + {DAY_MS} OR (last_timestamp < {EARLIEST} AND last_timestamp > 0)"
        )
        cursor.execute(f"UPDATE archive_conversation SET named_as_of = {now} WHERE named_as_of > {now}")
        cursor.execute(f"UPDATE archive_sender SET as_of = {now} WHERE as_of > {now}")


class Migration(migrations.Migration):
    dependencies = [("archive", "0014_names_in_index")]

    operations = [
        migrations.AddField(
            model_name="message",
            name="placed_at",
            field=models.BigIntegerField(editable=False, null=True),
        ),
        migrations.RunPython(place_by_arrival, migrations.RunPython.noop),
    ]
