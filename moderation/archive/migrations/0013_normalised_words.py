from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns that may be empty: to add them takes no time, however many messages there are."""

    dependencies = [("archive", "0009_unreadable_messages")]

    operations = [
        migrations.AddField("searchtext", "words", models.TextField(editable=False, null=True)),
        migrations.AddField("searchtext", "rules", models.PositiveIntegerField(editable=False, null=True)),
        migrations.AddField("searchprogress", "rules", models.PositiveIntegerField(default=0)),
    ]
