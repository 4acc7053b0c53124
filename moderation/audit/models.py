"""The audit log's one table. Rows are written by `audit.services.record()` and never change."""

from typing import Any, NoReturn

from django.db import models
from django.utils.translation import gettext_lazy as _


class Action(models.TextChoices):
    """What an entry tells of (interface.md, `export_audit`)."""

    REQUESTED = "recall.requested", _("recall requested")
    SENDING = "recall.sending", _("call about to be sent")
    ANSWERED = "recall.answered", _("call answered")
    UNANSWERED = "recall.unanswered", _("call not answered")
    CANCELLED = "recall.cancelled", _("recall called off")
    STOPPED = "recall.stopped", _("recall stopped")
    VERIFIED = "recall.verified", _("recall verified")
    SETTLED = "recall.settled", _("unknown outcome settled")


class AuditEntriesNeverChange(Exception):
    """Somebody tried to update or delete an audit entry."""


class AuditEntryQuerySet(models.QuerySet["AuditEntry"]):
    """Reads and appends; refuses everything else before the database has to."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise AuditEntriesNeverChange("UPDATE refused")

    def delete(self) -> NoReturn:
        raise AuditEntriesNeverChange("DELETE refused")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AuditEntriesNeverChange("UPDATE refused")


class AuditEntry(models.Model):
    """One step, as it was known when it was taken.

    Identifiers of actor and subject are copied, not referenced: nothing that is deleted elsewhere can take an
    entry along. Triggers refuse UPDATE and DELETE on both engines (`audit/triggers.py`).
    """

    seq = models.BigAutoField(_("no."), primary_key=True)
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
    prev_hash = models.CharField(max_length=64, null=True, editable=False)  # noqa: DJ001 - null: not chained
    hash = models.CharField(max_length=64, null=True, editable=False)  # noqa: DJ001 - null: not chained

    objects = AuditEntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")
        default_permissions = ("view",)
        permissions = [("export_auditentry", "Can export the audit log")]
        indexes = [
            # Each filter of the admin list, newest first.
            models.Index(fields=["actor", "-seq"], name="audit_by_actor"),
            models.Index(fields=["action", "-seq"], name="audit_by_action"),
            models.Index(fields=["app", "-seq"], name="audit_by_application"),
            models.Index(fields=["response_code", "-seq"], name="audit_by_response_code"),
            models.Index(fields=["at"], name="audit_by_time"),
            models.Index(fields=["recall", "seq"], name="audit_by_recall"),
            models.Index(fields=["group_id", "-seq"], name="audit_by_group"),
            models.Index(fields=["user_a", "-seq"], name="audit_by_user_a"),
            models.Index(fields=["user_b", "-seq"], name="audit_by_user_b"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.action}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AuditEntriesNeverChange("UPDATE refused")
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AuditEntriesNeverChange("DELETE refused")

    @property
    def conversation(self) -> dict[str, str] | None:
        """The conversation as exports write it: {"kind", "user_a", "user_b"} or {"kind", "group_id"}."""
        if self.kind == "group":
            return {"kind": "group", "group_id": self.group_id}
        if self.kind == "private":
            return {"kind": "private", "user_a": self.user_a, "user_b": self.user_b}
        return None
