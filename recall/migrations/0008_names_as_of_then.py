from django.db import migrations, models

# What evidence that was kept with the sweep calls its sender: the name of then, or nearly so.
NAMES = """
UPDATE recall_sweep SET sender_name = COALESCE((
    SELECT evidence.sender_name FROM recall_recall AS recall
    JOIN recall_recallitem AS item ON item.recall_id = recall.id
    JOIN recall_evidence AS evidence ON evidence.item_id = item.id
    WHERE recall.sweep_id = recall_sweep.id AND evidence.sender_id = recall_sweep.sender_id
        AND evidence.sender_name <> ''
    LIMIT 1
), '')
"""


class Migration(migrations.Migration):
    dependencies = [("recall", "0007_override_recaller"), ("archive", "0016_message_by_arrival")]

    operations = [
        migrations.AddField(
            model_name="recall",
            name="conversation_title",
            field=models.CharField(blank=True, default="", editable=False, max_length=520),
        ),
        migrations.AddField(
            model_name="sweep",
            name="sender_name",
            field=models.CharField(blank=True, default="", editable=False, max_length=255),
        ),
        migrations.RunSQL(NAMES, migrations.RunSQL.noop),
    ]
