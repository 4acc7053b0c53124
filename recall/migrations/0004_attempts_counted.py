from django.db import migrations, models


def count_attempts(apps, schema_editor):
    batch, attempt = apps.get_model("recall", "RecallBatch"), apps.get_model("recall", "RecallAttempt")
    made = attempt.objects.filter(batch=models.OuterRef("pk")).order_by().values("batch")
    batch.objects.filter(attempts__isnull=False).update(
        attempt_count=models.Subquery(made.annotate(number=models.Count("pk")).values("number"))
    )


class Migration(migrations.Migration):
    dependencies = [("recall", "0003_engine")]

    operations = [migrations.RunPython(count_attempts, migrations.RunPython.noop)]
