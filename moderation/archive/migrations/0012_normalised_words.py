from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns that may be empty: to add them takes no time, however many messages there are."""

    dependencies = [("archive", "0011_read_unread_again")]

    operations = [
        migrations.AddField("searchtext", "words", models.TextField(editable=False, null=True)),
        migrations.AddField("searchtext", "rules", models.PositiveIntegerField(editable=False, null=True)),
        migrations.AddField("searchprogress", "rules", models.PositiveIntegerField(default=0)),
    ]
