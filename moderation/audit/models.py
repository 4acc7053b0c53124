"""The audit log: entries, seals and checkpoints, which never change; and alarms and jobs, which are not part of it.

`audit.services.record()` writes entries; in `audit/ledger/`, `chain` seals them and `checkpoints` signs what is sealed.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, NoReturn
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

# Version of the format of entries. 1: `detail` had no fixed form, and entries had no version.
# 2: `detail` has the fields of the event classes, and entries have a version.
SCHEMA = 2
# How `Conversation.ids` writes a pair: what a person copies from the console can be pasted into the log's filter.
PAIR = " ↔ "


class Action(models.TextChoices):
    """Actions that are recorded; each has an event class (`audit/events.py`)."""

    REQUESTED = "recall.requested", _("recall requested")
    SENDING = "recall.sending", _("request about to be sent")
    ANSWERED = "recall.answered", _("request answered")
    UNANSWERED = "recall.unanswered", _("request not answered")
    CANCELLED = "recall.cancelled", _("recall cancelled")
    STOPPED = "recall.stopped", _("recall stopped")
    VERIFIED = "recall.verified", _("recall verified")
    SETTLED = "recall.settled", _("unknown outcome settled")
    HELD = "conversation.held", _("conversation put on hold")
    RELEASED = "conversation.released", _("hold of a conversation ended")
    LOG_EXPORTED = "audit.exported", _("audit log exported")
    LOG_DOWNLOADED = "audit.downloaded", _("exported audit log downloaded")
    LOG_VERIFIED = "audit.verified", _("audit log verified")
    SIGNED_IN = "auth.signed_in", _("signed in")
    SIGNED_OUT = "auth.signed_out", _("signed out")
    SIGN_IN_FAILED = "auth.sign_in_failed", _("sign-in failed")
    PASSWORD_REFUSED = "auth.password_refused", _("current password not right")
    ACCOUNT_CHANGED = "account.changed", _("account changed")
    APPLICATION_CHANGED = "application.changed", _("application changed")
    CONNECTION_TESTED = "application.tested", _("connection tested")
    REASON_CHANGED = "reason.changed", _("reason changed")
    PSEUDONYM_CHANGED = "pseudonym.changed", _("pseudonym changed")
    CONVERSATION_OPENED = "conversation.opened", _("conversation opened")
    DELIVERY_READ = "delivery.read", _("webhook delivery read")
    READER_ALARM = "reader.alarm", _("unusually many conversations opened")
    SEARCHED = "messages.searched", _("searched")
    GOEASY_CHECKED = "goeasy.checked", _("GoEasy checked before going live")
    TEXT_ERASED = "text.erased", _("text erased on request")
    KEYS_ROTATED = "application.keys_rotated", _("stored keys encrypted anew")
    BACKED_UP = "backup.made", _("backup made")
    RESTORED = "backup.restored", _("backup restored")


class AuditEntriesNeverChange(Exception):
    """Code tried to update or delete a row of the audit log."""


class AppendOnlyQuerySet(models.QuerySet[Any]):
    """Queryset that refuses updates and deletions before the database does."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise AuditEntriesNeverChange("UPDATE refused")

    def delete(self) -> NoReturn:
        raise AuditEntriesNeverChange("DELETE refused")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AuditEntriesNeverChange("UPDATE refused")


class AppendOnly(models.Model):
    """Base class of rows that never change. Triggers also refuse UPDATE and DELETE (`audit/ledger/triggers.py`)."""

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AuditEntriesNeverChange("UPDATE refused")
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AuditEntriesNeverChange("DELETE refused")


class AuditEntry(AppendOnly):
    """A recorded action.

    Names of the actor and the subject are copied instead of referenced, so that no deletion elsewhere cascades here.
    The number in the log, `seq`, comes with the seal, because ids become visible out of order.
    """

    at = models.DateTimeField(_("time"))
    actor = models.CharField(_("actor"), max_length=255)
    action = models.CharField(_("action"), max_length=64)
    app = models.CharField(_("application"), max_length=50, blank=True, default="")
    kind = models.CharField(_("kind"), max_length=8, blank=True, default="")
    user_a = models.CharField(max_length=255, blank=True, default="")
    user_b = models.CharField(max_length=255, blank=True, default="")
    group_id = models.CharField(max_length=255, blank=True, default="")
    recall = models.UUIDField(_("recall"), null=True)
    batch = models.IntegerField(_("batch"), null=True)
    attempt = models.IntegerField(_("attempt"), null=True)
    timestamps = models.JSONField(_("timestamps"), null=True)
    request = models.JSONField(_("request"), null=True)
    http_status = models.IntegerField(_("HTTP status"), null=True)
    response_code = models.BigIntegerField(_("response code"), null=True)
    response_content = models.TextField(_("response content"), null=True)  # noqa: DJ001 - null: no answer came
    latency_ms = models.BigIntegerField(_("latency (ms)"), null=True)
    detail = models.JSONField(_("detail"), default=dict)
    schema = models.PositiveSmallIntegerField(_("version"), db_default=1)

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")
        default_permissions = ("view",)
        permissions = [("export_auditentry", "Can export the audit log")]
        indexes = [
            # One for each filter of the admin list, in the list's order: a time range is a range of the index, too.
            models.Index(fields=["at", "id"], name="audit_by_time"),
            models.Index(fields=["actor", "at", "id"], name="audit_by_actor"),
            models.Index(fields=["action", "at", "id"], name="audit_by_action"),
            models.Index(fields=["app", "at", "id"], name="audit_by_application"),
            models.Index(fields=["response_code", "at", "id"], name="audit_by_response_code"),
            models.Index(fields=["group_id", "at", "id"], name="audit_by_group"),
            models.Index(fields=["user_a", "at", "id"], name="audit_by_user_a"),
            models.Index(fields=["user_b", "at", "id"], name="audit_by_user_b"),
            # A recall has few entries, which are read in the order of writing.
            models.Index(fields=["recall", "id"], name="audit_by_recall"),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.action}"

    @property
    def conversation_ids(self) -> str:
        """The ids of the entry's conversation at GoEasy, for display."""
        return self.group_id if self.kind == "group" else PAIR.join(filter(None, (self.user_a, self.user_b)))

    @property
    def action_label(self) -> str:
        """The action in the reader's language; an unknown one, such as a newer version's, stays as it is."""
        return str(dict(Action.choices).get(self.action, self.action))


class AuditTerm(models.Model):
    """What an entry can be found by beside its columns (`audit.terms`): an index, and no part of what is sealed."""

    pk = models.CompositePrimaryKey("term", "at", "entry_id")
    term = models.CharField(max_length=300)
    # The entry's time, so that the primary key has a term's entries in the order of the list.
    at = models.DateTimeField()
    entry = models.ForeignKey(AuditEntry, models.PROTECT, related_name="+", db_index=False)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.entry_id} {self.term}"


class ErasableQuerySet(AppendOnlyQuerySet):
    """Queryset that refuses all changes except an erasure."""

    def erase(self, by: AuditEntry) -> int:
        """Erase the parts that are not erased yet; the entry `by` records it. Returns their number."""
        return models.QuerySet.update(self.exclude(salt=""), salt="", content="", erasure=by)


class AuditPrivate(AppendOnly):
    """The erasable part of an entry: free text about people. `content` is a JSON object as text.

    The entry's `detail` has its salted hash under "private" (`audit/services.py`), so an erasure leaves the chain
    intact. Triggers refuse every other change.
    """

    entry = models.OneToOneField(AuditEntry, on_delete=models.PROTECT, primary_key=True, related_name="private")
    salt = models.CharField(max_length=64)
    content = models.TextField()
    # The entry that records the erasure.
    erasure = models.ForeignKey(AuditEntry, models.PROTECT, null=True, related_name="+", db_index=False)

    objects: ClassVar[Any] = ErasableQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=models.Q(salt="", content="", erasure__isnull=False)
                | ~models.Q(salt="") & ~models.Q(content="") & models.Q(erasure__isnull=True),
                name="a_private_part_is_whole_or_erased",
            )
        ]

    def __str__(self) -> str:
        return f"{self.pk} {'erased' if self.erasure_id else 'kept'}"


class AuditSeal(AppendOnly):
    """An entry's place in the hash chain, computed by `audit.ledger.chain` from the entry as read back.

    `hash` is the result of `audit.verifier.entry_hash()`. `prev_hash` is the hash of the previous seal, and unique, so
    that the chain cannot fork.
    """

    seq = models.BigIntegerField(_("no."), primary_key=True)
    entry = models.OneToOneField(AuditEntry, on_delete=models.PROTECT, related_name="seal")
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=models.Q(seq__gte=1), name="a_seal_is_numbered_from_one"),
            models.UniqueConstraint(fields=["prev_hash"], name="a_seal_is_followed_by_one_at_most"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.hash}"


class AuditCheckpoint(AppendOnly):
    """A signed checkpoint of the first `size` entries: `note`, in the format of C2SP tlog-checkpoint.

    `head` is the hash of the last of these entries. `frontier` has the roots of the full subtrees, so that the next
    checkpoint reads new seals only.
    """

    size = models.BigIntegerField(primary_key=True)
    root = models.CharField(max_length=64)
    head = models.CharField(max_length=64)
    frontier = models.JSONField()
    note = models.TextField()
    at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=models.Q(size__gte=1), name="a_checkpoint_covers_an_entry")]

    def __str__(self) -> str:
        return f"{self.size} {self.root}"


class AuditAlarm(models.Model):
    """A reason why a worker cannot sign the log (`audit.alarms`)."""

    class Problem(models.TextChoices):
        KEY_MISSING = "key_missing", _("The signing key is missing.")
        KEY_UNUSABLE = "key_unusable", _("The signing key cannot be used.")
        BROKEN = "broken", _("The log is broken: it contradicts its checkpoints.")

    problem = models.CharField(max_length=16, choices=Problem, primary_key=True)
    since = models.DateTimeField()
    # When a worker last raised it, and when an e-mail about it was sent to the admins.
    seen_at = models.DateTimeField()
    mailed_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=models.Q(problem__in=["key_missing", "key_unusable", "broken"]),
                name="an_audit_alarm_is_of_a_kind",
            )
        ]

    def __str__(self) -> str:
        return str(self.get_problem_display())

    @property
    def advice(self) -> str:
        """The remedy, in the reader's language."""
        return str(ADVICE[self.Problem(self.problem)])


KEY_ADVICE = _(
    "Put the file audit-signing-key back from a backup, or set AUDIT_SIGNING_KEY on every machine that runs a worker. "
    "It does not mean that entries were changed."
)
ADVICE = {
    AuditAlarm.Problem.KEY_MISSING: KEY_ADVICE,
    AuditAlarm.Problem.KEY_UNUSABLE: KEY_ADVICE,
    AuditAlarm.Problem.BROKEN: _(
        "Nothing is signed any more. “Verify now” in the audit log names the first bad entry."
    ),
}


class AuditJob(models.Model):
    """A verification or export of the whole log, requested in Django admin and run by a worker.

    Kept for a day, with its file. The log itself records what was exported or verified.
    """

    class Kind(models.TextChoices):
        VERIFICATION = "verification", _("verification")
        EXPORT = "export", _("export")

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting for a worker")
        RUNNING = "running", _("in progress")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    RETENTION = timedelta(hours=24)
    # Without progress for this long, the worker is presumed dead.
    HEARTBEAT_TIMEOUT = timedelta(seconds=60)

    # Random, as it is the name of the file.
    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    kind = models.CharField(max_length=16, choices=Kind)
    state = models.CharField(max_length=16, choices=State, default=State.WAITING)
    actor = models.CharField(max_length=255)
    # Origin of the request, for the entry that the worker records.
    origin = models.JSONField(default=dict)
    # Format and filters of an export; the filters as a query string of the list, with times in UTC.
    format = models.CharField(max_length=8, blank=True, default="")
    query = models.TextField(blank=True, default="")
    # Progress: entries read, and their total.
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(null=True)
    # Reason of a failure, or the problem of the log.
    problem = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    # When the worker last saved its progress.
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=models.Q(kind__in=["verification", "export"]), name="a_job_is_of_a_kind"),
            models.CheckConstraint(
                condition=models.Q(state__in=["waiting", "running", "done", "failed"]), name="a_job_is_in_a_state"
            ),
        ]
        indexes = [models.Index(fields=["kind", "-created_at"], name="audit_job_newest_first")]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def is_final(self) -> bool:
        return self.state in {self.State.DONE, self.State.FAILED}

    @property
    def is_lost(self) -> bool:
        """Whether its worker is presumed dead, so that it should be requested again."""
        return not self.is_final and self.seen_at < timezone.now() - self.HEARTBEAT_TIMEOUT

    @property
    def is_live(self) -> bool:
        return not (self.is_final or self.is_lost)

    @property
    def file(self) -> Path:
        """Path of an export's file, on the machine of its worker."""
        return Path(settings.AUDIT_EXPORT_DIR) / f"{self.id}.{self.format}"

    @property
    def has_file(self) -> bool:
        """Whether the export can be downloaded from this machine now."""
        is_kept = self.created_at > timezone.now() - self.RETENTION
        return self.kind == self.Kind.EXPORT and self.state == self.State.DONE and is_kept and self.file.is_file()
