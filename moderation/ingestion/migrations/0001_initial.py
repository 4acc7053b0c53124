import django.db.models.deletion
import django.db.models.functions.text
import django.db.models.lookups
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('applications', '0001_initial'),
        ('archive', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Feed',
            fields=[
                ('application', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, serialize=False, to='applications.application')),
                ('first_at', models.DateTimeField(null=True)),
                ('last_at', models.DateTimeField(null=True)),
                ('counted_until', models.DateTimeField(null=True)),
                ('gap_at', models.DateTimeField(null=True)),
                ('alarm', models.CharField(blank=True, default='', max_length=8)),
                ('alarm_at', models.DateTimeField(null=True)),
                ('mailed_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='FeedCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('hour', models.DateTimeField()),
                ('what', models.CharField(max_length=20)),
                ('number', models.PositiveBigIntegerField(default=0)),
                ('application', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='applications.application')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('application', 'hour', 'what'), name='one_count_per_hour_and_what')],
            },
        ),
        migrations.CreateModel(
            name='UnreadableMessage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('raw', models.TextField(verbose_name='raw message')),
                ('sha256', models.CharField(max_length=64)),
                ('length', models.PositiveIntegerField(verbose_name='characters')),
                ('seen_at', models.DateTimeField(auto_now_add=True, verbose_name='first seen')),
                ('conversation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='archive.conversation', verbose_name='conversation')),
            ],
            options={
                'verbose_name': 'message that could not be read',
                'verbose_name_plural': 'messages that could not be read',
                'constraints': [models.UniqueConstraint(fields=('conversation', 'sha256'), name='one_unreadable_message_per_conversation_and_text'), models.CheckConstraint(condition=django.db.models.lookups.LessThanOrEqual(django.db.models.functions.text.Length('raw'), 16384), name='unreadable_message_is_bounded')],
            },
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('received_at', models.DateTimeField(verbose_name='received')),
                ('content', models.BinaryField(verbose_name='content')),
                ('sha256', models.CharField(max_length=64)),
                ('form', models.CharField(blank=True, default='', max_length=12)),
                ('state', models.CharField(choices=[('waiting', 'waiting for the worker'), ('done', 'in the archive'), ('apart', 'customer service or PubSub, not in the archive'), ('unread', 'could not be read')], max_length=8, verbose_name='state')),
                ('problem', models.CharField(blank=True, default='', max_length=32, verbose_name='problem')),
                ('detail', models.CharField(blank=True, default='', max_length=500)),
                ('tries', models.PositiveIntegerField(default=0, verbose_name='tries')),
                ('retry_at', models.DateTimeField(null=True)),
                ('application', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='applications.application', verbose_name='application')),
            ],
            options={
                'verbose_name': 'webhook delivery',
                'verbose_name_plural': 'webhook deliveries',
                'indexes': [models.Index(fields=['application', 'received_at'], name='delivery_by_time'), models.Index(condition=models.Q(('state', 'waiting')), fields=['retry_at'], name='delivery_waiting'), models.Index(condition=models.Q(('state', 'unread')), fields=['application', 'id'], name='delivery_unread')],
                'constraints': [models.UniqueConstraint(fields=('application', 'sha256'), name='one_delivery_per_application_and_content')],
            },
        ),
    ]
