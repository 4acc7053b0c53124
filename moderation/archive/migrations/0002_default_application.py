from django.db import migrations


def add_default(apps, schema_editor):
    """The application that the environment configures exists from the start (interface.md, "Environment")."""
    apps.get_model("archive", "Application").objects.get_or_create(slug="default", defaults={"name": "GoEasy"})


class Migration(migrations.Migration):
    dependencies = [("archive", "0001_initial")]

    operations = [migrations.RunPython(add_default, migrations.RunPython.noop)]
