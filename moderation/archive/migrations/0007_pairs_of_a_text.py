from django.db import migrations

from moderation.archive import search


class Migration(migrations.Migration):
    """What says the pairs of a text on PostgreSQL is read once a connection; what it says is the same."""

    dependencies = [("archive", "0006_media_origins")]

    operations = [migrations.RunPython(search.install, migrations.RunPython.noop)]
