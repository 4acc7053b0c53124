import django.db.models.deletion
from django.db import migrations, models

from moderation.archive import search


def begin(apps, schema_editor):
    """What is in the archive by now is made searchable by the worker, in small pieces."""
    newest = apps.get_model("archive", "Message").objects.order_by("-pk").values_list("pk", flat=True).first()
    apps.get_model("archive", "SearchProgress").objects.create(pk=1, older=newest or 0)


class Migration(migrations.Migration):

    dependencies = [
        ('archive', '0003_webhook'),
    ]

    operations = [
        migrations.CreateModel(
            name='SearchProgress',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('done', models.BigIntegerField(default=0)),
                ('older', models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='SearchText',
            fields=[
                ('message', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, serialize=False, to='archive.message')),
                ('text', models.TextField()),
            ],
        ),
        migrations.RunPython(search.install, search.remove),
        migrations.RunPython(begin, migrations.RunPython.noop),
    ]
