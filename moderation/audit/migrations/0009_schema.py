"""Each entry has the version of what it is made of; those that are there already are of the first."""

from django.db import migrations, models

from moderation.audit.ledger import triggers


class Migration(migrations.Migration):
    dependencies = [("audit", "0008_alarm")]

    operations = [
        # SQLite puts a new table in the place of the old one: no trigger may refer to it meanwhile.
        migrations.RunPython(triggers.remove, triggers.install),
        migrations.AddField(
            "auditentry", "schema", models.PositiveSmallIntegerField(db_default=1, verbose_name="version")
        ),
        migrations.RunPython(triggers.install, triggers.remove),
    ]
