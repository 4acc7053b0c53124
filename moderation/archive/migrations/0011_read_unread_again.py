"""Deliveries that could not be read are read once more by a worker: the console has learned to read more of them."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("archive", "0010_apart_deliveries")]

    operations = [
        migrations.RunSQL(
            "UPDATE archive_webhookdelivery SET state = 'waiting', tries = 0, retry_at = CURRENT_TIMESTAMP "
            "WHERE state = 'unread'",
            migrations.RunSQL.noop,
        )
    ]
