"""Free text about people beside the entries, so that it can be erased; older entries keep what they have."""

import django.db.models.deletion
from django.db import migrations, models

from moderation.audit.ledger import triggers


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_jobs")]

    operations = [
        migrations.CreateModel(
            name="AuditPrivate",
            fields=[
                (
                    "entry",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="private",
                        serialize=False,
                        to="audit.auditentry",
                    ),
                ),
                ("salt", models.CharField(max_length=64)),
                ("content", models.TextField()),
                (
                    "erasure",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="audit.auditentry",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(salt="", content="", erasure__isnull=False)
                        | ~models.Q(salt="") & ~models.Q(content="") & models.Q(erasure__isnull=True),
                        name="a_private_part_is_whole_or_erased",
                    )
                ],
            },
        ),
        # On the way back they go with their table.
        migrations.RunPython(triggers.install, migrations.RunPython.noop),
    ]
