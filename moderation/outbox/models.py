"""Calls to GoEasy: a call is one request to send, an attempt is one HTTP request made for it.

docs/adr/0014 explains the design.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from moderation.applications.models import Application
from moderation.goeasy.prepared import PreparedCall


class CallQuerySet(models.QuerySet["Call"]):
    """Operations on calls for their owners; updates return the number of changed calls."""

    def hold(self) -> int:
        """Hold waiting calls back until they are released."""
        return self.filter(state=Call.State.WAITING).update(state=Call.State.HELD)

    def cancel(self) -> int:
        """Cancel the calls that are neither being sent nor have an outcome."""
        return self.filter(state__in=UNSENT).update(state=Call.State.CANCELLED)

    def release(self) -> int:
        """Let the calls leave now as if for the first time, whatever their outcome was."""
        return self.exclude(state=Call.State.SENDING).update(
            state=Call.State.WAITING, not_before=timezone.now(), tries=0
        )

    def in_turn(self, now: datetime) -> CallQuerySet:
        """Calls that may leave now: the least tried first, and subjects in turn."""
        return self.filter(state=Call.State.WAITING, not_before__lte=now).order_by("tries", "position", "id")

    def due_or_tried(self, now: datetime) -> CallQuerySet:
        """Calls that may leave now, and those that wait for a retry."""
        return self.filter(Q(not_before__lte=now) | Q(tries__gt=0), state=Call.State.WAITING)


class Call(models.Model):
    """One request to send to an application's GoEasy, prepared once. Its subject belongs to its effect."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")  # may leave once `not_before` has come
        HELD = "held", _("held back")  # until somebody lets it go or cancels it
        SENDING = "sending", _("being sent")
        ACCEPTED = "accepted", _("accepted")
        REFUSED = "refused", _("refused")
        UNKNOWN = "unknown", _("unknown")
        CANCELLED = "cancelled", _("cancelled")

    # Without an index of its own: `call_waiting` begins with it, and planners without statistics take the shorter one.
    application = models.ForeignKey(Application, models.PROTECT, db_index=False)
    # Name of the effect (`effects.py`) that knows what the call is for.
    effect = models.CharField(max_length=32)
    # The request as it will be sent, and recorded, but for the key.
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=200)
    body = models.TextField()
    # Its position among the calls of one subject.
    position = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=12, choices=State, default=State.WAITING)
    # When it may leave, for the first time or again.
    not_before = models.DateTimeField()
    # The worker that is sending it, and the end of its lease (`recovery.recover_orphans`).
    claimed_by = models.CharField(max_length=64, blank=True, default="")
    lease_until = models.DateTimeField(null=True)
    # Attempts in all, and since it was last released: the latter are bounded.
    attempt_count = models.PositiveIntegerField(default=0)
    tries = models.PositiveIntegerField(default=0)

    objects = CallQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "held", "sending", "accepted", "refused", "unknown", "cancelled"]),
                name="call_state_is_known",
            ),
            models.CheckConstraint(
                condition=Q(state="sending", lease_until__isnull=False) & ~Q(claimed_by="")
                | ~Q(state="sending") & Q(lease_until__isnull=True, claimed_by=""),
                name="call_is_claimed_while_it_is_sent",
            ),
        ]
        indexes = [
            # What is sent next in an application: what was tried least, and of all its subjects in turn.
            models.Index(
                fields=["application", "tries", "position", "id"], condition=Q(state="waiting"), name="call_waiting"
            ),
            # Which leases have run out.
            models.Index(fields=["lease_until"], condition=Q(state="sending"), name="call_leased"),
        ]

    def __str__(self) -> str:
        return f"{self.effect} call {self.pk}"

    @classmethod
    def of(cls, prepared: PreparedCall, **fields: Any) -> Call:
        """An unsaved call for a prepared request."""
        return cls(method=prepared.method, path=prepared.path, body=prepared.body, **fields)

    @property
    def prepared(self) -> PreparedCall:
        """The prepared request that the client performs."""
        return PreparedCall(self.method, self.path, self.body)


# States of calls that have no outcome yet.
UNFINISHED = [Call.State.WAITING, Call.State.HELD, Call.State.SENDING]
# States of calls that are not being sent and may still leave.
UNSENT = [Call.State.WAITING, Call.State.HELD]


class Attempt(models.Model):
    """One HTTP request: committed as intent before it leaves, completed with its outcome."""

    class Outcome(models.TextChoices):
        OPEN = "open", _("being sent")
        ACCEPTED = "accepted", _("accepted")
        REFUSED = "refused", _("refused")
        UNKNOWN = "unknown", _("unknown")
        NOT_SENT = "not_sent", _("not sent")  # no connection: GoEasy cannot have seen it

    call = models.ForeignKey(Call, models.PROTECT, related_name="attempts")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=12, choices=Outcome, default=Outcome.OPEN)
    http_status = models.IntegerField(null=True)
    response_code = models.BigIntegerField(null=True)
    response_content = models.TextField(blank=True, default="")
    latency_ms = models.BigIntegerField(null=True)
    # An error's `kind` (goeasy/errors.py), LOST or RESTORED.
    problem = models.CharField(max_length=32, blank=True, default="")

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        default_permissions = ("view",)
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["call", "number"], name="one_attempt_per_call_and_number"),
            models.UniqueConstraint(fields=["call"], condition=Q(outcome="open"), name="one_open_attempt_per_call"),
        ]

    def __str__(self) -> str:
        return f"{self.call} attempt {self.number}"


# `problem` of an attempt whose worker ended without recording an outcome.
LOST = "worker_lost"
# `problem` of an attempt that was open when the restored backup was made.
RESTORED = "restored"


class CallSlot(models.Model):
    """One of an application's slots for concurrent calls, shared by all workers."""

    application = models.ForeignKey(Application, models.CASCADE)
    number = models.PositiveSmallIntegerField()
    held_by = models.CharField(max_length=64, blank=True, default="")
    held_until = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["application", "number"], name="one_slot_per_application_and_number")
        ]

    def __str__(self) -> str:
        return f"{self.application_id} #{self.number}"


class Circuit(models.Model):
    """Circuit breaker of an application's calls, shared by all workers. While it is open, calls are held back."""

    class Reason(models.TextChoices):
        KEY_REFUSED = "key_refused", _("GoEasy refused the key")
        FAILING = "failing", _("GoEasy failed many times in a row")

    application = models.OneToOneField(Application, models.CASCADE)
    # Failures in a row; an answer resets them.
    failures = models.PositiveIntegerField(default=0)
    last_problem = models.CharField(max_length=32, blank=True, default="")
    opened_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=12, choices=Reason, blank=True, default="")
    # When it is open: when GoEasy may next be tried.
    probe_at = models.DateTimeField(null=True)
    # With a limit of calls a second: when the next call may leave.
    call_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(opened_at__isnull=True, reason="") | Q(opened_at__isnull=False) & ~Q(reason=""),
                name="circuit_says_why_it_is_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.application}: {self.reason or 'closed'}"

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None
