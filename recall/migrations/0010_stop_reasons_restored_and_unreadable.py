from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("recall", "0009_stop_reason_not_allowed")]

    operations = [
        migrations.AlterField(
            model_name="recall",
            name="stop_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("key_refused", "GoEasy refused the key"),
                    ("unreachable", "GoEasy could not be reached"),
                    ("not_configured", "The application has no key"),
                    ("key_unreadable", "The application’s stored key cannot be opened"),
                    ("not_allowed", "The application’s host is not one that a key may be sent to"),
                    ("invalid", "It cannot be sent as it is"),
                    ("restored", "It was under way when the backup was made. What was sent since is not known here"),
                ],
                default="",
                max_length=20,
            ),
        )
    ]
