import django.db.models.deletion
import django.utils.timezone
import uuid
from django.db import migrations, models


# The database's own refusal to change the log: what `moderation/audit/ledger/triggers.py` says, as it was when this was made.
INSTALL = {
    "postgresql": [
        """
CREATE OR REPLACE FUNCTION audit_entries_never_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries never change: % refused', TG_OP;
END $$
""",
        "CREATE OR REPLACE TRIGGER audit_entries_are_never_updated_or_deleted BEFORE UPDATE OR DELETE ON audit_auditentry FOR EACH ROW EXECUTE FUNCTION audit_entries_never_change()",
        """
CREATE OR REPLACE TRIGGER audit_entries_are_never_truncated
    BEFORE TRUNCATE ON audit_auditentry FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_never_change()
""",
        "CREATE OR REPLACE TRIGGER audit_entries_are_never_updated_or_deleted BEFORE UPDATE OR DELETE ON audit_auditseal FOR EACH ROW EXECUTE FUNCTION audit_entries_never_change()",
        """
CREATE OR REPLACE TRIGGER audit_entries_are_never_truncated
    BEFORE TRUNCATE ON audit_auditseal FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_never_change()
""",
        "CREATE OR REPLACE TRIGGER audit_entries_are_never_updated_or_deleted BEFORE UPDATE OR DELETE ON audit_auditcheckpoint FOR EACH ROW EXECUTE FUNCTION audit_entries_never_change()",
        """
CREATE OR REPLACE TRIGGER audit_entries_are_never_truncated
    BEFORE TRUNCATE ON audit_auditcheckpoint FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_never_change()
""",
        "CREATE OR REPLACE TRIGGER audit_entries_are_never_updated_or_deleted BEFORE DELETE ON audit_auditprivate FOR EACH ROW EXECUTE FUNCTION audit_entries_never_change()",
        """
CREATE OR REPLACE TRIGGER audit_entries_are_never_updated_otherwise
    BEFORE UPDATE ON audit_auditprivate FOR EACH ROW WHEN (NOT (NEW.entry_id = OLD.entry_id AND OLD.salt <> '' AND NEW.salt = '' AND NEW.content = ''
AND NEW.erasure_id IS NOT NULL)) EXECUTE FUNCTION audit_entries_never_change()
""",
        """
CREATE OR REPLACE FUNCTION audit_private_parts_are_erased_and_told() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE is_told boolean;
BEGIN
    EXECUTE format($told$SELECT EXISTS (SELECT 1 FROM %1$I.audit_auditentry told, %1$I.audit_auditseal mine
WHERE told.id = ($1).erasure_id AND told.action = 'text.erased' AND mine.entry_id = ($2).entry_id AND told.detail -> 'entries' @> pg_catalog.to_jsonb(mine.seq)
AND NOT EXISTS (SELECT 1 FROM %1$I.audit_auditseal WHERE entry_id = told.id))$told$, TG_TABLE_SCHEMA) INTO is_told USING NEW, OLD;
    IF NOT is_told THEN
    RAISE EXCEPTION 'audit entries never change: UPDATE refused';
    END IF;
    RETURN NEW;
END $$
""",
        """
CREATE OR REPLACE TRIGGER audit_private_parts_are_erased_and_told
    BEFORE UPDATE ON audit_auditprivate FOR EACH ROW EXECUTE FUNCTION audit_private_parts_are_erased_and_told()
""",
        """
CREATE OR REPLACE TRIGGER audit_entries_are_never_truncated
    BEFORE TRUNCATE ON audit_auditprivate FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_never_change()
""",
    ],
    "sqlite": [
        """
CREATE TRIGGER IF NOT EXISTS audit_auditentry_is_never_updated BEFORE UPDATE ON audit_auditentry
     BEGIN SELECT RAISE(ABORT, 'audit entries never change: UPDATE refused'); END
""",
        "CREATE TRIGGER IF NOT EXISTS audit_auditentry_is_never_deleted BEFORE DELETE ON audit_auditentry BEGIN SELECT RAISE(ABORT, 'audit entries never change: DELETE refused'); END",
        """
CREATE TRIGGER IF NOT EXISTS audit_auditentry_is_never_replaced BEFORE INSERT ON audit_auditentry
    WHEN EXISTS (SELECT 1 FROM audit_auditentry WHERE rowid = NEW.rowid) BEGIN SELECT RAISE(ABORT, 'audit entries never change: REPLACE refused'); END
""",
        """
CREATE TRIGGER IF NOT EXISTS audit_auditseal_is_never_updated BEFORE UPDATE ON audit_auditseal
     BEGIN SELECT RAISE(ABORT, 'audit entries never change: UPDATE refused'); END
""",
        "CREATE TRIGGER IF NOT EXISTS audit_auditseal_is_never_deleted BEFORE DELETE ON audit_auditseal BEGIN SELECT RAISE(ABORT, 'audit entries never change: DELETE refused'); END",
        """
CREATE TRIGGER IF NOT EXISTS audit_auditseal_is_never_replaced BEFORE INSERT ON audit_auditseal
    WHEN EXISTS (SELECT 1 FROM audit_auditseal WHERE rowid = NEW.rowid OR seq = NEW.seq OR entry_id = NEW.entry_id OR prev_hash = NEW.prev_hash) BEGIN SELECT RAISE(ABORT, 'audit entries never change: REPLACE refused'); END
""",
        """
CREATE TRIGGER IF NOT EXISTS audit_auditcheckpoint_is_never_updated BEFORE UPDATE ON audit_auditcheckpoint
     BEGIN SELECT RAISE(ABORT, 'audit entries never change: UPDATE refused'); END
""",
        "CREATE TRIGGER IF NOT EXISTS audit_auditcheckpoint_is_never_deleted BEFORE DELETE ON audit_auditcheckpoint BEGIN SELECT RAISE(ABORT, 'audit entries never change: DELETE refused'); END",
        """
CREATE TRIGGER IF NOT EXISTS audit_auditcheckpoint_is_never_replaced BEFORE INSERT ON audit_auditcheckpoint
    WHEN EXISTS (SELECT 1 FROM audit_auditcheckpoint WHERE rowid = NEW.rowid OR size = NEW.size) BEGIN SELECT RAISE(ABORT, 'audit entries never change: REPLACE refused'); END
""",
        """
CREATE TRIGGER IF NOT EXISTS audit_auditprivate_is_never_updated BEFORE UPDATE ON audit_auditprivate
    WHEN NOT (NEW.entry_id = OLD.entry_id AND OLD.salt <> '' AND NEW.salt = '' AND NEW.content = ''
AND NEW.erasure_id IS NOT NULL AND EXISTS (SELECT 1 FROM audit_auditentry told, audit_auditseal mine
WHERE told.id = NEW.erasure_id AND told.action = 'text.erased' AND mine.entry_id = OLD.entry_id AND mine.seq IN (SELECT value FROM json_each(told.detail, '$.entries') WHERE type = 'integer')
AND NOT EXISTS (SELECT 1 FROM audit_auditseal WHERE entry_id = told.id))) BEGIN SELECT RAISE(ABORT, 'audit entries never change: UPDATE refused'); END
""",
        "CREATE TRIGGER IF NOT EXISTS audit_auditprivate_is_never_deleted BEFORE DELETE ON audit_auditprivate BEGIN SELECT RAISE(ABORT, 'audit entries never change: DELETE refused'); END",
        """
CREATE TRIGGER IF NOT EXISTS audit_auditprivate_is_never_replaced BEFORE INSERT ON audit_auditprivate
    WHEN EXISTS (SELECT 1 FROM audit_auditprivate WHERE rowid = NEW.rowid OR entry_id = NEW.entry_id) BEGIN SELECT RAISE(ABORT, 'audit entries never change: REPLACE refused'); END
""",
    ],
}
REMOVE = {
    "postgresql": [
        "DROP TRIGGER IF EXISTS audit_entries_are_never_updated_or_deleted ON audit_auditentry",
        "DROP TRIGGER IF EXISTS audit_entries_are_never_updated_otherwise ON audit_auditentry",
        "DROP TRIGGER IF EXISTS audit_entries_are_never_truncated ON audit_auditentry",
        "DROP TRIGGER IF EXISTS audit_private_parts_are_erased_and_told ON audit_auditentry",
        "DROP TRIGGER IF EXISTS audit_entries_are_never_updated_or_deleted ON audit_auditseal",
        "DROP TRIGGER IF EXISTS audit_entries_are_never_updated_otherwise ON audit_auditseal",
        "DROP TRIGGER IF EXISTS audit_entries_are_never_truncated ON audit_auditseal",
        "DROP TRIGGER IF EXISTS audit_private_parts_are_erased_and_told ON audit_auditseal",
        "DROP TRIGGER IF EXISTS audit_entries_are_never_updated_or_deleted ON audit_auditcheckpoint",
        "DROP TRIGGER IF EXISTS audit_entries_are_never_updated_otherwise ON audit_auditcheckpoint",
        "DROP TRIGGER IF EXISTS audit_entries_are_never_truncated ON audit_auditcheckpoint",
        "DROP TRIGGER IF EXISTS audit_private_parts_are_erased_and_told ON audit_auditcheckpoint",
        "DROP TRIGGER IF EXISTS audit_entries_are_never_updated_or_deleted ON audit_auditprivate",
        "DROP TRIGGER IF EXISTS audit_entries_are_never_updated_otherwise ON audit_auditprivate",
        "DROP TRIGGER IF EXISTS audit_entries_are_never_truncated ON audit_auditprivate",
        "DROP TRIGGER IF EXISTS audit_private_parts_are_erased_and_told ON audit_auditprivate",
    ],
    "sqlite": [
        "DROP TRIGGER IF EXISTS audit_auditentry_is_never_updated",
        "DROP TRIGGER IF EXISTS audit_auditentry_is_never_deleted",
        "DROP TRIGGER IF EXISTS audit_auditentry_is_never_replaced",
        "DROP TRIGGER IF EXISTS audit_auditseal_is_never_updated",
        "DROP TRIGGER IF EXISTS audit_auditseal_is_never_deleted",
        "DROP TRIGGER IF EXISTS audit_auditseal_is_never_replaced",
        "DROP TRIGGER IF EXISTS audit_auditcheckpoint_is_never_updated",
        "DROP TRIGGER IF EXISTS audit_auditcheckpoint_is_never_deleted",
        "DROP TRIGGER IF EXISTS audit_auditcheckpoint_is_never_replaced",
        "DROP TRIGGER IF EXISTS audit_auditprivate_is_never_updated",
        "DROP TRIGGER IF EXISTS audit_auditprivate_is_never_deleted",
        "DROP TRIGGER IF EXISTS audit_auditprivate_is_never_replaced",
    ],
}


def install(apps, schema_editor):
    _run(schema_editor, INSTALL)


def remove(apps, schema_editor):
    _run(schema_editor, REMOVE)


def _run(schema_editor, statements):
    with schema_editor.connection.cursor() as cursor:
        for statement in statements[schema_editor.connection.vendor]:
            cursor.execute(statement)


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(verbose_name='time')),
                ('actor', models.CharField(max_length=255, verbose_name='actor')),
                ('action', models.CharField(max_length=64, verbose_name='action')),
                ('app', models.CharField(blank=True, default='', max_length=50, verbose_name='application')),
                ('kind', models.CharField(blank=True, default='', max_length=8, verbose_name='kind')),
                ('user_a', models.CharField(blank=True, default='', max_length=255)),
                ('user_b', models.CharField(blank=True, default='', max_length=255)),
                ('group_id', models.CharField(blank=True, default='', max_length=255)),
                ('recall', models.UUIDField(null=True, verbose_name='recall')),
                ('batch', models.IntegerField(null=True, verbose_name='batch')),
                ('attempt', models.IntegerField(null=True, verbose_name='attempt')),
                ('timestamps', models.JSONField(null=True, verbose_name='timestamps')),
                ('request', models.JSONField(null=True, verbose_name='request')),
                ('http_status', models.IntegerField(null=True, verbose_name='HTTP status')),
                ('response_code', models.BigIntegerField(null=True, verbose_name='response code')),
                ('response_content', models.TextField(null=True, verbose_name='response content')),
                ('latency_ms', models.BigIntegerField(null=True, verbose_name='latency (ms)')),
                ('detail', models.JSONField(default=dict, verbose_name='detail')),
                ('schema', models.PositiveSmallIntegerField(db_default=1, verbose_name='version')),
            ],
            options={
                'verbose_name': 'audit entry',
                'verbose_name_plural': 'audit log',
                'permissions': [('export_auditentry', 'Can export the audit log')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='AuditJob',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('verification', 'verification'), ('export', 'export')], max_length=16)),
                ('state', models.CharField(choices=[('waiting', 'waiting for a worker'), ('running', 'in progress'), ('done', 'done'), ('failed', 'failed')], default='waiting', max_length=16)),
                ('actor', models.CharField(max_length=255)),
                ('origin', models.JSONField(default=dict)),
                ('format', models.CharField(blank=True, default='', max_length=8)),
                ('query', models.TextField(blank=True, default='')),
                ('done', models.BigIntegerField(default=0)),
                ('total', models.BigIntegerField(null=True)),
                ('problem', models.TextField(blank=True, default='')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('seen_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='AuditSeal',
            fields=[
                ('seq', models.BigIntegerField(primary_key=True, serialize=False, verbose_name='no.')),
                ('prev_hash', models.CharField(max_length=64)),
                ('hash', models.CharField(max_length=64)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='AuditAlarm',
            fields=[
                ('problem', models.CharField(choices=[('key_missing', 'The signing key is missing.'), ('key_unusable', 'The signing key cannot be used.'), ('broken', 'The log is broken: it contradicts its checkpoints.')], max_length=16, primary_key=True, serialize=False)),
                ('since', models.DateTimeField()),
                ('seen_at', models.DateTimeField()),
                ('mailed_at', models.DateTimeField(null=True)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(('problem__in', ['key_missing', 'key_unusable', 'broken'])), name='an_audit_alarm_is_of_a_kind')],
            },
        ),
        migrations.CreateModel(
            name='AuditCheckpoint',
            fields=[
                ('size', models.BigIntegerField(primary_key=True, serialize=False)),
                ('root', models.CharField(max_length=64)),
                ('head', models.CharField(max_length=64)),
                ('frontier', models.JSONField()),
                ('note', models.TextField()),
                ('at', models.DateTimeField()),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(('size__gte', 1)), name='a_checkpoint_covers_an_entry')],
            },
        ),
        migrations.CreateModel(
            name='AuditPrivate',
            fields=[
                ('entry', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='private', serialize=False, to='audit.auditentry')),
                ('salt', models.CharField(max_length=64)),
                ('content', models.TextField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['at', 'id'], name='audit_by_time'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['actor', 'at', 'id'], name='audit_by_actor'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['action', 'at', 'id'], name='audit_by_action'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['app', 'at', 'id'], name='audit_by_application'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['response_code', 'at', 'id'], name='audit_by_response_code'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['group_id', 'at', 'id'], name='audit_by_group'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['user_a', 'at', 'id'], name='audit_by_user_a'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['user_b', 'at', 'id'], name='audit_by_user_b'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['recall', 'id'], name='audit_by_recall'),
        ),
        migrations.AddIndex(
            model_name='auditjob',
            index=models.Index(fields=['kind', '-created_at'], name='audit_job_newest_first'),
        ),
        migrations.AddConstraint(
            model_name='auditjob',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['verification', 'export'])), name='a_job_is_of_a_kind'),
        ),
        migrations.AddConstraint(
            model_name='auditjob',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['waiting', 'running', 'done', 'failed'])), name='a_job_is_in_a_state'),
        ),
        migrations.AddField(
            model_name='auditseal',
            name='entry',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='seal', to='audit.auditentry'),
        ),
        migrations.AddField(
            model_name='auditprivate',
            name='erasure',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='audit.auditentry'),
        ),
        migrations.AddConstraint(
            model_name='auditseal',
            constraint=models.CheckConstraint(condition=models.Q(('seq__gte', 1)), name='a_seal_is_numbered_from_one'),
        ),
        migrations.AddConstraint(
            model_name='auditseal',
            constraint=models.UniqueConstraint(fields=('prev_hash',), name='a_seal_is_followed_by_one_at_most'),
        ),
        migrations.AddConstraint(
            model_name='auditprivate',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('content', ''), ('erasure__isnull', False), ('salt', '')), models.Q(models.Q(('salt', ''), _negated=True), models.Q(('content', ''), _negated=True), ('erasure__isnull', True)), _connector='OR'), name='a_private_part_is_whole_or_erased'),
        ),
        migrations.RunPython(install, remove),
    ]
