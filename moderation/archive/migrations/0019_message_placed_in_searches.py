from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("archive", "0018_form_of_deliveries")]

    operations = [
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("placed_at__isnull", False)),
                fields=["placed_at", "id"],
                name="any_message_placed_by_arrival",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("placed_at__isnull", False)),
                fields=["sender_id", "placed_at", "id"],
                name="sender_placed_by_arrival",
            ),
        ),
    ]
