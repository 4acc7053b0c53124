import django.db.models.deletion
import django.db.models.functions.comparison
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('applications', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Conversation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('private', 'private'), ('group', 'group')], max_length=8, verbose_name='kind')),
                ('user_a', models.CharField(blank=True, default='', max_length=255)),
                ('user_b', models.CharField(blank=True, default='', max_length=255)),
                ('group_id', models.CharField(blank=True, default='', max_length=255)),
                ('last_timestamp', models.BigIntegerField(default=0, verbose_name='latest message')),
                ('name', models.CharField(blank=True, default='', editable=False, max_length=255, verbose_name='name')),
                ('avatar', models.CharField(blank=True, default='', editable=False, max_length=2000)),
                ('named_as_of', models.BigIntegerField(default=0, editable=False)),
                ('compared_until', models.BigIntegerField(default=0, editable=False)),
                ('history_read_at', models.DateTimeField(editable=False, null=True)),
                ('history_problem', models.CharField(blank=True, default='', editable=False, max_length=32)),
                ('held_at', models.DateTimeField(editable=False, null=True)),
                ('held_by', models.CharField(blank=True, default='', editable=False, max_length=150)),
                ('hold_note', models.TextField(blank=True, default='', editable=False, max_length=2000)),
                ('application', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='applications.application', verbose_name='application')),
            ],
            options={
                'verbose_name': 'conversation',
                'verbose_name_plural': 'conversations',
                'permissions': [('open_conversation', 'Can open a conversation that the archive does not know'), ('hold_conversation', 'Can put a conversation on hold, and end that')],
            },
        ),
        migrations.CreateModel(
            name='Message',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('timestamp', models.BigIntegerField(verbose_name='timestamp')),
                ('placed_at', models.BigIntegerField(editable=False, null=True)),
                ('message_id', models.CharField(blank=True, default='', max_length=255, verbose_name='message id')),
                ('sender_id', models.CharField(blank=True, default='', max_length=255, verbose_name='sender')),
                ('type', models.CharField(blank=True, default='', max_length=64, verbose_name='type')),
                ('raw', models.TextField(verbose_name='raw message')),
                ('sha256', models.CharField(max_length=64)),
                ('payload_sha256', models.CharField(max_length=64)),
                ('recalled', models.BooleanField(default=False, verbose_name='recalled')),
                ('recalled_raw', models.TextField(blank=True, default='')),
                ('seen_at', models.DateTimeField(auto_now_add=True, verbose_name='first seen')),
                ('conversation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='archive.conversation', verbose_name='conversation')),
            ],
            options={
                'verbose_name': 'message',
                'verbose_name_plural': 'messages',
                'permissions': [('erase_text', 'Can erase what a person wrote')],
            },
        ),
        migrations.CreateModel(
            name='Sender',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user_id', models.CharField(max_length=255)),
                ('name', models.CharField(blank=True, default='', max_length=255)),
                ('avatar', models.CharField(blank=True, default='', max_length=2000)),
                ('as_of', models.BigIntegerField(default=0)),
                ('words', models.TextField(editable=False, null=True)),
                ('rules', models.PositiveIntegerField(editable=False, null=True)),
                ('application', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='applications.application')),
            ],
            options={
                'verbose_name': 'sender',
                'verbose_name_plural': 'senders',
            },
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(fields=['-last_timestamp', '-id'], name='conversation_newest_first'),
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(fields=['application', '-history_read_at'], name='conversation_read_lately'),
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(fields=['user_a', 'user_b'], name='conversation_by_user_a'),
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(fields=['user_b'], name='conversation_by_user_b'),
        ),
        migrations.AddConstraint(
            model_name='conversation',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('group_id', ''), ('kind', 'private'), models.Q(('user_a', ''), _negated=True), models.Q(('user_b', ''), _negated=True)), models.Q(('kind', 'group'), ('user_a', ''), ('user_b', ''), models.Q(('group_id', ''), _negated=True)), _connector='OR'), name='conversation_names_a_pair_or_a_group'),
        ),
        migrations.AddConstraint(
            model_name='conversation',
            constraint=models.UniqueConstraint(models.F('application'), django.db.models.functions.comparison.Least('user_a', 'user_b'), django.db.models.functions.comparison.Greatest('user_a', 'user_b'), condition=models.Q(('kind', 'private')), name='one_conversation_per_pair'),
        ),
        migrations.AddConstraint(
            model_name='conversation',
            constraint=models.UniqueConstraint(condition=models.Q(('kind', 'group')), fields=('application', 'group_id'), name='one_conversation_per_group'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['conversation', 'timestamp', 'id'], name='message_timeline'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('placed_at__isnull', False)), fields=['conversation', 'placed_at', 'id'], name='message_placed_by_arrival'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('placed_at__isnull', False)), fields=['placed_at', 'id'], name='any_message_placed_by_arrival'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('placed_at__isnull', False)), fields=['sender_id', 'placed_at', 'id'], name='sender_placed_by_arrival'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['conversation', 'id'], name='message_by_arrival'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('message_id', ''), _negated=True), fields=['message_id'], name='message_by_id'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['timestamp'], name='message_by_timestamp'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['sender_id', 'timestamp'], name='message_by_sender'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.UniqueConstraint(condition=models.Q(('message_id', ''), _negated=True), fields=('conversation', 'message_id'), name='one_message_per_conversation_and_id'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.UniqueConstraint(condition=models.Q(('message_id', '')), fields=('conversation', 'timestamp', 'sender_id', 'payload_sha256'), name='one_message_without_id_per_time_sender_and_payload'),
        ),
        migrations.AddIndex(
            model_name='sender',
            index=models.Index(fields=['rules'], name='sender_by_rules'),
        ),
        migrations.AddConstraint(
            model_name='sender',
            constraint=models.UniqueConstraint(fields=('application', 'user_id'), name='one_row_per_sender_and_application'),
        ),
    ]
