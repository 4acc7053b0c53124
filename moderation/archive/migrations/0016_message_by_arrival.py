import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("archive", "0015_message_placed_at")]

    operations = [
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("placed_at__isnull", False)),
                fields=["conversation", "placed_at", "id"],
                name="message_placed_by_arrival",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(fields=["conversation", "id"], name="message_by_arrival"),
        ),
        # As a change of the field SQLite would write the whole table anew.
        migrations.RunSQL(
            sql='DROP INDEX IF EXISTS "archive_message_conversation_id_e348f6a8"',
            reverse_sql=(
                'CREATE INDEX "archive_message_conversation_id_e348f6a8" ON "archive_message" ("conversation_id")'
            ),
            state_operations=[
                migrations.AlterField(
                    model_name="message",
                    name="conversation",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="archive.conversation",
                        verbose_name="conversation",
                    ),
                ),
            ],
        ),
    ]
