from django.db import migrations


def refuse_recalls(apps, schema_editor):
    """Evidence must not disappear unseen."""
    if apps.get_model('recall', 'RecallBatch').objects.exists():
        raise RuntimeError(
            'This database has recalls of an unreleased version, which are not carried over. Start with a new database.'
        )


class Migration(migrations.Migration):

    dependencies = [
        ('recall', '0010_stop_reasons_restored_and_unreadable'),
    ]
    # Its constraints have the names of those that are dropped here.
    run_before = [
        ('outbox', '0001_initial'),
    ]

    operations = [
        migrations.RunPython(refuse_recalls, migrations.RunPython.noop, elidable=True),
        migrations.DeleteModel('Evidence'),
        migrations.DeleteModel('RecallItem'),
        migrations.DeleteModel('RecallAttempt'),
        migrations.DeleteModel('RecallBatch'),
        migrations.DeleteModel('CallSlot'),
        migrations.DeleteModel('Circuit'),
    ]
