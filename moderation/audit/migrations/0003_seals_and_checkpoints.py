"""Entries are numbered and chained by seals of their own; what is there already is sealed by the first worker."""

import django.db.models.deletion
from django.db import migrations, models

from moderation.audit.ledger import triggers

# Each index of the log that ends in the primary key, by which it is sorted.
BY_KEY = {
    "audit_by_actor": ["actor", "-{}"],
    "audit_by_action": ["action", "-{}"],
    "audit_by_application": ["app", "-{}"],
    "audit_by_response_code": ["response_code", "-{}"],
    "audit_by_recall": ["recall", "{}"],
    "audit_by_group": ["group_id", "-{}"],
    "audit_by_user_a": ["user_a", "-{}"],
    "audit_by_user_b": ["user_b", "-{}"],
}


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_entries_never_change")]

    operations = [
        migrations.RunPython(triggers.remove, triggers.install),
        *(migrations.RemoveIndex("auditentry", name) for name in BY_KEY),
        migrations.RemoveField("auditentry", "prev_hash"),
        migrations.RemoveField("auditentry", "hash"),
        migrations.RenameField("auditentry", "seq", "id"),
        migrations.AlterField(
            "auditentry", "id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")
        ),
        *(
            migrations.AddIndex("auditentry", models.Index(fields=[field.format("id") for field in fields], name=name))
            for name, fields in BY_KEY.items()
        ),
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                ("seq", models.BigIntegerField(primary_key=True, serialize=False, verbose_name="no.")),
                (
                    "entry",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="seal", to="audit.auditentry"
                    ),
                ),
                ("prev_hash", models.CharField(max_length=64)),
                ("hash", models.CharField(max_length=64)),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(condition=models.Q(seq__gte=1), name="a_seal_is_numbered_from_one"),
                    models.UniqueConstraint(fields=("prev_hash",), name="a_seal_is_followed_by_one_at_most"),
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditCheckpoint",
            fields=[
                ("size", models.BigIntegerField(primary_key=True, serialize=False)),
                ("root", models.CharField(max_length=64)),
                ("head", models.CharField(max_length=64)),
                ("frontier", models.JSONField()),
                ("note", models.TextField()),
                ("at", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(condition=models.Q(size__gte=1), name="a_checkpoint_covers_an_entry")
                ],
            },
        ),
        migrations.RunPython(triggers.install, triggers.remove),
    ]
