import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models


# The list that admins begin with: code, and label in English and Chinese.
REASONS = [
    ("spam", "Spam or advertising", "垃圾信息或广告"),
    ("abuse", "Abuse or harassment", "辱骂或骚扰"),
    ("sexual", "Sexual content", "色情内容"),
    ("illegal", "Illegal content", "违法内容"),
    ("fraud", "Fraud", "诈骗"),
    ("privacy", "Personal data", "泄露个人信息"),
    ("mistake", "Sent by mistake", "误发"),
    ("other", "Other (say in the note)", "其他（请在备注中说明）"),
]


def add_reasons(apps, schema_editor):
    reason = apps.get_model("recall", "RecallReason")
    for position, (code, label_en, label_zh) in enumerate(REASONS):
        reason.objects.create(code=code, label_en=label_en, label_zh=label_zh, position=position)


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('applications', '0001_initial'),
        ('archive', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='RecallReason',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.SlugField(unique=True, verbose_name='code')),
                ('label_en', models.CharField(max_length=100, verbose_name='label in English')),
                ('label_zh', models.CharField(max_length=100, verbose_name='label in Chinese')),
                ('position', models.PositiveSmallIntegerField(default=0, verbose_name='position')),
                ('is_active', models.BooleanField(default=True, verbose_name='offered')),
            ],
            options={
                'verbose_name': 'reason',
                'verbose_name_plural': 'reasons',
                'ordering': ['position', 'code'],
            },
        ),
        migrations.CreateModel(
            name='Recall',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('conversation_title', models.CharField(blank=True, default='', editable=False, max_length=520)),
                ('sent_for', models.CharField(blank=True, default='', editable=False, max_length=150)),
                ('note', models.TextField(blank=True, default='', max_length=2000, verbose_name='note')),
                ('recaller_id', models.CharField(blank=True, default='', max_length=255, verbose_name='recaller id')),
                ('recaller_data', models.JSONField(blank=True, null=True, verbose_name='recaller data')),
                ('submission', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('state', models.CharField(choices=[('waiting', 'waiting'), ('sending', 'sending'), ('stopped', 'stopped'), ('finished', 'finished'), ('cancelled', 'called off')], default='waiting', max_length=12, verbose_name='state')),
                ('stop_reason', models.CharField(blank=True, choices=[('key_refused', 'GoEasy refused the key'), ('unreachable', 'GoEasy could not be reached'), ('not_configured', 'The application has no key'), ('key_unreadable', 'The application’s stored key cannot be opened'), ('not_allowed', 'The application’s host is not one that a key may be sent to'), ('invalid', 'It cannot be sent as it is'), ('restored', 'It was under way when the backup was made. What was sent since is not known here')], default='', max_length=20)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='requested')),
                ('not_before', models.DateTimeField(default=django.utils.timezone.now)),
                ('finished_at', models.DateTimeField(null=True, verbose_name='finished')),
                ('actor', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL, verbose_name='actor')),
                ('application', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='applications.application', verbose_name='application')),
                ('conversation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='archive.conversation', verbose_name='conversation')),
                ('reason', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='recall.recallreason', verbose_name='reason')),
            ],
            options={
                'verbose_name': 'recall',
                'verbose_name_plural': 'recalls',
                'permissions': [('override_recaller', 'Can choose what app users see as the recaller')],
                'default_permissions': ('add', 'view'),
            },
        ),
        migrations.CreateModel(
            name='RecallBatch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('index', models.PositiveIntegerField()),
                ('size', models.PositiveSmallIntegerField()),
                ('state', models.CharField(choices=[('pending', 'not sent'), ('sending', 'being sent'), ('accepted', 'accepted'), ('refused', 'refused'), ('unknown', 'unknown'), ('cancelled', 'called off')], default='pending', max_length=12, verbose_name='state')),
                ('claimed_by', models.CharField(blank=True, default='', max_length=64)),
                ('lease_until', models.DateTimeField(null=True)),
                ('next_attempt_at', models.DateTimeField(null=True)),
                ('attempt_count', models.PositiveIntegerField(default=0)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('check_at', models.DateTimeField(null=True)),
                ('checks', models.PositiveIntegerField(default=0)),
                ('settlement', models.CharField(blank=True, choices=[('gone', 'history shows that the messages are gone'), ('visible', 'history still shows messages'), ('unusual', 'accepted, with an answer other than OK'), ('decided', 'a person decided')], default='', max_length=12)),
                ('settled_by', models.CharField(blank=True, default='', max_length=150)),
                ('settlement_note', models.TextField(blank=True, default='', max_length=2000)),
                ('recall', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='batches', to='recall.recall')),
            ],
            options={
                'verbose_name': 'batch',
                'verbose_name_plural': 'batches',
                'ordering': ['index'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='RecallAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('started_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(null=True)),
                ('outcome', models.CharField(choices=[('open', 'being sent'), ('accepted', 'accepted'), ('refused', 'refused'), ('unknown', 'unknown'), ('not_sent', 'never left')], default='open', max_length=12)),
                ('http_status', models.IntegerField(null=True)),
                ('response_code', models.BigIntegerField(null=True)),
                ('response_content', models.TextField(blank=True, default='')),
                ('latency_ms', models.BigIntegerField(null=True)),
                ('problem', models.CharField(blank=True, default='', max_length=32)),
                ('batch', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='attempts', to='recall.recallbatch')),
            ],
            options={
                'verbose_name': 'attempt',
                'verbose_name_plural': 'attempts',
                'ordering': ['number'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='RecallItem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField()),
                ('timestamp', models.BigIntegerField(verbose_name='timestamp')),
                ('verification', models.CharField(blank=True, choices=[('gone', 'gone'), ('still visible', 'still visible'), ('unknowable', 'unknowable')], default='', max_length=16)),
                ('verified_at', models.DateTimeField(null=True)),
                ('batch', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='items', to='recall.recallbatch')),
                ('recall', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='items', to='recall.recall')),
            ],
            options={
                'verbose_name': 'recalled timestamp',
                'verbose_name_plural': 'recalled timestamps',
                'ordering': ['timestamp'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Evidence',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('message_id', models.CharField(blank=True, default='', max_length=255)),
                ('sender_id', models.CharField(blank=True, default='', max_length=255)),
                ('sender_name', models.CharField(blank=True, default='', max_length=255)),
                ('type', models.CharField(blank=True, default='', max_length=64)),
                ('raw', models.TextField()),
                ('sha256', models.CharField(max_length=64)),
                ('salt', models.CharField(blank=True, default='', max_length=64)),
                ('commitment', models.CharField(blank=True, default='', max_length=64)),
                ('item', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='evidence', to='recall.recallitem')),
            ],
            options={
                'verbose_name': 'evidence',
                'verbose_name_plural': 'evidence',
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Sweep',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('sender_id', models.CharField(max_length=255, verbose_name='sender')),
                ('sender_name', models.CharField(blank=True, default='', editable=False, max_length=255)),
                ('since', models.BigIntegerField(verbose_name='from')),
                ('until', models.BigIntegerField(verbose_name='to')),
                ('submission', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='requested')),
                ('actor', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL, verbose_name='actor')),
                ('application', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='applications.application', verbose_name='application')),
            ],
            options={
                'verbose_name': 'sweep',
                'verbose_name_plural': 'sweeps',
                'default_permissions': (),
            },
        ),
        migrations.AddField(
            model_name='recall',
            name='sweep',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='recalls', to='recall.sweep', verbose_name='sweep'),
        ),
        migrations.CreateModel(
            name='CallSlot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveSmallIntegerField()),
                ('held_by', models.CharField(blank=True, default='', max_length=64)),
                ('held_until', models.DateTimeField(null=True)),
                ('application', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='applications.application')),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('application', 'number'), name='one_slot_per_application_and_number')],
            },
        ),
        migrations.CreateModel(
            name='Circuit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('failures', models.PositiveIntegerField(default=0)),
                ('last_problem', models.CharField(blank=True, default='', max_length=32)),
                ('opened_at', models.DateTimeField(null=True)),
                ('reason', models.CharField(blank=True, choices=[('key_refused', 'GoEasy refused the key'), ('failing', 'GoEasy failed many times in a row')], default='', max_length=12)),
                ('probe_at', models.DateTimeField(null=True)),
                ('call_at', models.DateTimeField(null=True)),
                ('application', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, to='applications.application')),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('opened_at__isnull', True), ('reason', '')), models.Q(('opened_at__isnull', False), models.Q(('reason', ''), _negated=True)), _connector='OR'), name='circuit_says_why_it_is_open')],
            },
        ),
        migrations.AddIndex(
            model_name='recallbatch',
            index=models.Index(condition=models.Q(('state__in', ['pending', 'sending'])), fields=['recall', 'index'], name='batch_not_final'),
        ),
        migrations.AddIndex(
            model_name='recallbatch',
            index=models.Index(condition=models.Q(('state', 'sending')), fields=['lease_until'], name='batch_leased'),
        ),
        migrations.AddIndex(
            model_name='recallbatch',
            index=models.Index(condition=models.Q(('state', 'pending')), fields=['tries', 'index', 'id'], name='batch_pending'),
        ),
        migrations.AddIndex(
            model_name='recallbatch',
            index=models.Index(condition=models.Q(('check_at__isnull', False)), fields=['check_at'], name='batch_to_check'),
        ),
        migrations.AddIndex(
            model_name='recallbatch',
            index=models.Index(condition=models.Q(models.Q(('settlement', ''), ('state', 'unknown')), ('settlement__in', ['visible', 'unusual']), _connector='OR'), fields=['recall'], name='batch_needs_a_person'),
        ),
        migrations.AddConstraint(
            model_name='recallbatch',
            constraint=models.UniqueConstraint(fields=('recall', 'index'), name='one_batch_per_recall_and_index'),
        ),
        migrations.AddConstraint(
            model_name='recallbatch',
            constraint=models.CheckConstraint(condition=models.Q(('size__gte', 1), ('size__lte', 20)), name='batch_has_1_to_20_timestamps'),
        ),
        migrations.AddConstraint(
            model_name='recallbatch',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'sending', 'accepted', 'refused', 'unknown', 'cancelled'])), name='batch_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='recallattempt',
            constraint=models.UniqueConstraint(fields=('batch', 'number'), name='one_attempt_per_batch_and_number'),
        ),
        migrations.AddConstraint(
            model_name='recallattempt',
            constraint=models.UniqueConstraint(condition=models.Q(('outcome', 'open')), fields=('batch',), name='one_open_attempt_per_batch'),
        ),
        migrations.AddIndex(
            model_name='recallitem',
            index=models.Index(fields=['timestamp'], name='item_by_timestamp'),
        ),
        migrations.AddConstraint(
            model_name='recallitem',
            constraint=models.UniqueConstraint(fields=('recall', 'timestamp'), name='recall_names_a_timestamp_once'),
        ),
        migrations.AddConstraint(
            model_name='recallitem',
            constraint=models.UniqueConstraint(fields=('batch', 'position'), name='one_timestamp_per_place_in_a_batch'),
        ),
        migrations.AddConstraint(
            model_name='recallitem',
            constraint=models.CheckConstraint(condition=models.Q(('position__lt', 20)), name='a_batch_has_20_places'),
        ),
        migrations.AddIndex(
            model_name='sweep',
            index=models.Index(fields=['-created_at', '-id'], name='sweep_newest_first'),
        ),
        migrations.AddConstraint(
            model_name='sweep',
            constraint=models.CheckConstraint(condition=models.Q(('since__lte', models.F('until'))), name='sweep_ends_after_it_begins'),
        ),
        migrations.AddIndex(
            model_name='recall',
            index=models.Index(fields=['-created_at', '-id'], name='recall_newest_first'),
        ),
        migrations.AddIndex(
            model_name='recall',
            index=models.Index(fields=['conversation', '-created_at'], name='recall_by_conversation'),
        ),
        migrations.AddIndex(
            model_name='recall',
            index=models.Index(condition=models.Q(('state__in', ['waiting', 'sending', 'stopped'])), fields=['not_before'], name='recall_unfinished'),
        ),
        migrations.AddConstraint(
            model_name='recall',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['waiting', 'sending', 'stopped', 'finished', 'cancelled'])), name='recall_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='recall',
            constraint=models.CheckConstraint(condition=models.Q(('state', 'stopped'), ('stop_reason', ''), _connector='XOR'), name='recall_says_why_it_stopped'),
        ),
        migrations.RunPython(add_reasons, migrations.RunPython.noop),
    ]
