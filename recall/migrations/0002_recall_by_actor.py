from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("recall", "0001_initial")]

    operations = [
        migrations.AddIndex(
            model_name="recall",
            index=models.Index(fields=["actor", "-created_at", "-id"], name="recall_by_actor"),
        ),
    ]
