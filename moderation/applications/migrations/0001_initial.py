import django.core.validators
from django.db import migrations, models


def add_default(apps, schema_editor):
    """The application that the environment configures exists from the start (docs/interface.md, "Environment")."""
    apps.get_model("applications", "Application").objects.create(slug="default", name="GoEasy")


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Application',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.SlugField(unique=True, verbose_name='short name')),
                ('name', models.CharField(max_length=100, verbose_name='name')),
                ('rest_host_saved', models.CharField(default='hangzhou', help_text='hangzhou, singapore, a host name, or a base URL.', max_length=255, verbose_name='REST host')),
                ('appkey_sealed', models.TextField(blank=True, default='', editable=False)),
                ('secret_keys_sealed', models.TextField(blank=True, default='', editable=False)),
                ('recaller_id', models.CharField(blank=True, default='', help_text='What app users see when the moderator has no pseudonym.', max_length=255, verbose_name='recaller id')),
                ('recaller_data', models.JSONField(blank=True, help_text='A JSON object, for example a name and an avatar.', null=True, verbose_name='recaller data')),
                ('keep_days', models.PositiveIntegerField(blank=True, help_text='Older ones are deleted, except of conversations on hold. Evidence stays. Empty: for ever.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(36500)], verbose_name='days that messages are kept here')),
                ('history_days', models.PositiveIntegerField(blank=True, help_text='As the application’s plan has it: 1 on the free one, 10 on paid ones, more on request.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(36500)], verbose_name='days that GoEasy keeps messages')),
                ('media_origins', models.TextField(blank=True, default='', help_text='One a line, like https://files.example.com. Pictures, audio and video from there are shown after a click; the console itself never fetches them.', max_length=4000, verbose_name='hosts of attachments')),
                ('verify_after_seconds', models.PositiveIntegerField(blank=True, help_text='History is read so long after a recall for whether its messages are gone. manage.py goeasy_check measures how long GoEasy takes. Empty: as RECALL_VERIFY_AFTER says.', null=True, validators=[django.core.validators.MaxValueValidator(3600)], verbose_name='seconds until a recall is verified')),
            ],
            options={
                'verbose_name': 'application',
                'verbose_name_plural': 'applications',
                'ordering': ['slug'],
            },
        ),
        migrations.RunPython(add_default, migrations.RunPython.noop),
    ]
