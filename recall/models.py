"""A recall: one decision by one person, its batches, and the evidence kept before the effect.

Every time stamp of a message is GoEasy's: milliseconds since the epoch, UTC.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, TypedDict

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from moderation.applications.models import Application
from moderation.archive.models import Conversation
from moderation.audit.models import Action
from moderation.audit.recorded import Recorded
from moderation.goeasy.client import MAX_TIMESTAMPS_PER_CALL, Recaller
from moderation.outbox.models import Call

MAX_TIMESTAMPS = 5_000
MAX_NOTE_LENGTH = 2_000


class RecallColumns(TypedDict):
    """The columns of an audit entry that name a recall."""

    app: str
    conversation: dict[str, str]
    recall: uuid.UUID


class RecallReason(Recorded):
    """Why messages are taken back: a list that leads and admins maintain."""

    recorded_as = Action.REASON_CHANGED
    audited_fields = ("code", "label_en", "label_zh", "position", "is_active")

    code = models.SlugField(_("code"), unique=True)
    label_en = models.CharField(_("label in English"), max_length=100)
    label_zh = models.CharField(_("label in Chinese"), max_length=100)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("offered"), default=True)

    class Meta:
        verbose_name = _("reason")
        verbose_name_plural = _("reasons")
        ordering = ["position", "code"]

    def __str__(self) -> str:
        return self.label_zh if (translation.get_language() or "").startswith("zh") else self.label_en


class Sweep(models.Model):
    """One decision to take back what one sender wrote, across conversations: the parent of a recall for each."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    application = models.ForeignKey(Application, models.PROTECT, verbose_name=_("application"))
    sender_id = models.CharField(_("sender"), max_length=255)
    # What the sender was called when it was decided.
    sender_name = models.CharField(max_length=255, blank=True, default="", editable=False)
    # The span of time, ends included (ms).
    since = models.BigIntegerField(_("from"))
    until = models.BigIntegerField(_("to"))
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("actor"))
    submission = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(_("requested"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("sweep")
        verbose_name_plural = _("sweeps")
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=models.Q(since__lte=models.F("until")), name="sweep_ends_after_it_begins"),
        ]
        indexes = [models.Index(fields=["-created_at", "-id"], name="sweep_newest_first")]

    def __str__(self) -> str:
        return str(self.id)

    def get_absolute_url(self) -> str:
        return reverse("sweep", args=[self.id])

    @property
    def title(self) -> str:
        """The sender's name when the sweep was decided, else the sender's id."""
        return self.sender_name or self.sender_id


class RecallQuerySet(models.QuerySet["Recall"]):
    def begun(self) -> RecallQuerySet:
        """Recalls whose calls are being sent or may be sent now."""
        return self.filter(models.Q(state="sending") | models.Q(state="waiting", not_before__lte=timezone.now()))


class Recall(models.Model):
    """One decision by one person to take messages of one conversation back."""

    class State(models.TextChoices):
        """State of the recall as a whole; the outcomes are the batches'."""

        WAITING = "waiting", _("waiting")  # may still be cancelled: nothing has left
        SENDING = "sending", _("sending")
        STOPPED = "stopped", _("stopped")  # something unsent is left, and a person has to act
        FINISHED = "finished", pgettext_lazy("state of a recall", "finished")
        CANCELLED = "cancelled", _("cancelled")  # before anything left

    class StopReason(models.TextChoices):
        KEY_REFUSED = "key_refused", _("GoEasy refused the key")
        UNREACHABLE = "unreachable", _("GoEasy could not be reached")
        NOT_CONFIGURED = "not_configured", _("The application has no key")
        KEY_UNREADABLE = "key_unreadable", _("The application’s stored key cannot be opened")
        NOT_ALLOWED = "not_allowed", _("The application’s host is not one that a key may be sent to")
        INVALID = "invalid", _("It cannot be sent as it is")
        RESTORED = "restored", _("It was in progress when the backup was made. What was sent since is not known here")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    application = models.ForeignKey(Application, models.PROTECT, verbose_name=_("application"))
    conversation = models.ForeignKey(Conversation, models.PROTECT, verbose_name=_("conversation"))
    # What the conversation was called when it was decided.
    conversation_title = models.CharField(max_length=520, blank=True, default="", editable=False)
    sweep = models.ForeignKey(Sweep, models.PROTECT, null=True, related_name="recalls", verbose_name=_("sweep"))
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("actor"))
    # User name of whoever asked for the sending that is under way: the actor, or somebody who sent the rest again.
    sent_for = models.CharField(max_length=150, blank=True, default="", editable=False)
    reason = models.ForeignKey(RecallReason, models.PROTECT, verbose_name=_("reason"))
    note = models.TextField(_("note"), blank=True, default="", max_length=MAX_NOTE_LENGTH)
    recaller_id = models.CharField(_("recaller id"), max_length=255, blank=True, default="")
    recaller_data = models.JSONField(_("recaller data"), null=True, blank=True)
    # Of the form that asked for it: the same form submitted twice is one recall.
    submission = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    state = models.CharField(_("state"), max_length=12, choices=State, default=State.WAITING)
    stop_reason = models.CharField(max_length=20, choices=StopReason, blank=True, default="")
    created_at = models.DateTimeField(_("requested"), default=timezone.now, editable=False)
    # When the first request may leave.
    not_before = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True)

    objects = RecallQuerySet.as_manager()

    class Meta:
        verbose_name = _("recall")
        verbose_name_plural = _("recalls")
        default_permissions = ("add", "view")
        permissions = [("override_recaller", "Can choose what app users see as the recaller")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["waiting", "sending", "stopped", "finished", "cancelled"]),
                name="recall_state_is_known",
            ),
            models.CheckConstraint(
                condition=models.Q(state="stopped") ^ models.Q(stop_reason=""),
                name="recall_says_why_it_stopped",
            ),
        ]
        indexes = [
            # The recalls list, newest first, by key.
            models.Index(fields=["-created_at", "-id"], name="recall_newest_first"),
            # A conversation's recall history.
            models.Index(fields=["conversation", "-created_at"], name="recall_by_conversation"),
            # What somebody requested lately: the home page, and the list filtered by a person.
            models.Index(fields=["actor", "-created_at", "-id"], name="recall_by_actor"),
            # What the worker and the home page look for: recalls that are not final.
            models.Index(
                fields=["not_before"],
                condition=models.Q(state__in=["waiting", "sending", "stopped"]),
                name="recall_unfinished",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    def get_absolute_url(self) -> str:
        return reverse("recall", args=[self.id])

    @property
    def title(self) -> str:
        """The conversation's title when the recall was decided, if it was kept, else the present one."""
        return self.conversation_title or getattr(self.conversation, "title", self.conversation.ids)

    @property
    def is_final(self) -> bool:
        """Nothing more happens to it by itself (a stopped one waits for a person)."""
        return self.state in {self.State.FINISHED, self.State.CANCELLED, self.State.STOPPED}

    @property
    def recaller(self) -> Recaller | None:
        """Who recalls, as clients will see it; None leaves the field out of the call."""
        if self.recaller_id or self.recaller_data:
            return Recaller(self.recaller_id, self.recaller_data)
        return None

    def for_audit(self) -> RecallColumns:
        """Columns that every audit entry about the recall copies."""
        return {"app": self.application.slug, "conversation": self.conversation.for_audit(), "recall": self.pk}


# A batch with an unknown outcome, with messages that history still shows, or accepted with an answer that may name
# messages that were not taken back.
NEEDS_A_PERSON = models.Q(state="unknown", settlement="") | models.Q(settlement__in=["visible", "unusual"])
# A batch for which reading history was at least tried since it was last sent.
LOOKED_FOR = models.Q(checks__gt=0)
# A batch whose answer does not settle it and for which history is about to be read.
BEING_CHECKED = models.Q(check_at__isnull=False, checks=0) & (
    models.Q(state__in=["unknown", "refused"], settlement="") | models.Q(settlement="unusual")
)


class RecallBatch(models.Model):
    """One call's worth of a recall: at most 20 timestamps (docs/goeasy-api.md, "Recall")."""

    class State(models.TextChoices):
        PENDING = "pending", _("not sent")
        SENDING = "sending", _("being sent")
        ACCEPTED = "accepted", _("accepted")
        REFUSED = "refused", _("refused")
        UNKNOWN = "unknown", _("unknown")
        CANCELLED = "cancelled", _("cancelled")

    class Settlement(models.TextChoices):
        """What history showed of a call's messages where the answer does not settle it, or says otherwise."""

        GONE = "gone", _("history shows that the messages were removed")
        VISIBLE = "visible", _("history still shows messages")
        UNUSUAL = "unusual", _("accepted, with an answer other than OK")
        DECIDED = "decided", _("decided by a person")

    # The request itself. One key for both: whatever concerns the sending stands there.
    call = models.OneToOneField(Call, models.PROTECT, primary_key=True, related_name="recall_batch")
    recall = models.ForeignKey(Recall, models.PROTECT, related_name="batches")
    index = models.PositiveIntegerField()
    size = models.PositiveSmallIntegerField()
    # As the call has it, written by the effect in the same transaction; pending while the call waits or is held.
    state = models.CharField(_("state"), max_length=12, choices=State, default=State.PENDING)
    # When history is to be read for what became of its messages; null when there is nothing (more) to look for.
    check_at = models.DateTimeField(null=True)
    checks = models.PositiveIntegerField(default=0)
    # How an outcome was settled beside its state, by whom, and what they wrote: the state tells what was answered.
    # `gone` of what was refused or not answered, `visible` also of what GoEasy said that it took back.
    settlement = models.CharField(max_length=12, choices=Settlement, blank=True, default="")
    settled_by = models.CharField(max_length=150, blank=True, default="")
    settlement_note = models.TextField(blank=True, default="", max_length=MAX_NOTE_LENGTH)

    class Meta:
        verbose_name = _("batch")
        verbose_name_plural = _("batches")
        default_permissions = ("view",)
        ordering = ["index"]
        constraints = [
            models.UniqueConstraint(fields=["recall", "index"], name="one_batch_per_recall_and_index"),
            models.CheckConstraint(
                condition=models.Q(size__gte=1, size__lte=MAX_TIMESTAMPS_PER_CALL),
                name="batch_has_1_to_20_timestamps",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["pending", "sending", "accepted", "refused", "unknown", "cancelled"]),
                name="batch_state_is_known",
            ),
        ]
        indexes = [
            # What is left to send of a recall.
            models.Index(
                fields=["recall", "index"],
                condition=models.Q(state__in=["pending", "sending"]),
                name="batch_not_final",
            ),
            # Which messages are to be looked for in history.
            models.Index(fields=["check_at"], condition=models.Q(check_at__isnull=False), name="batch_to_check"),
            # The home page's list of what a person has to decide on.
            models.Index(fields=["recall"], condition=NEEDS_A_PERSON, name="batch_needs_a_person"),
        ]

    def __str__(self) -> str:
        return f"{self.recall_id} #{self.index}"

    @property
    def attempts(self) -> Any:
        """The manager of the HTTP requests that were made for it."""
        return self.call.attempts


# A batch that has no outcome yet.
UNSENT = [RecallBatch.State.PENDING, RecallBatch.State.SENDING]


class RecallItem(models.Model):
    """One timestamp of a recall. It names every message that its conversation has at that millisecond."""

    class Verification(models.TextChoices):
        GONE = "gone", _("verified as removed")
        STILL_VISIBLE = "still visible", _("still visible")
        UNKNOWABLE = "unknowable", _("cannot be verified")

    recall = models.ForeignKey(Recall, models.PROTECT, related_name="items")
    batch = models.ForeignKey(RecallBatch, models.PROTECT, related_name="items")
    position = models.PositiveSmallIntegerField()
    timestamp = models.BigIntegerField(_("timestamp"))
    verification = models.CharField(max_length=16, choices=Verification, blank=True, default="")
    verified_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("recalled timestamp")
        verbose_name_plural = _("recalled timestamps")
        default_permissions = ("view",)
        ordering = ["timestamp"]
        constraints = [
            models.UniqueConstraint(fields=["recall", "timestamp"], name="recall_names_a_timestamp_once"),
            models.UniqueConstraint(fields=["batch", "position"], name="one_timestamp_per_place_in_a_batch"),
            models.CheckConstraint(
                condition=models.Q(position__lt=MAX_TIMESTAMPS_PER_CALL), name="a_batch_has_20_places"
            ),
        ]
        indexes = [
            # The timeline asks which of its messages a recall names.
            models.Index(fields=["timestamp"], name="item_by_timestamp")
        ]

    def __str__(self) -> str:
        return str(self.timestamp)


@dataclass(frozen=True)
class Named:
    """Our recalls of a message: the latest recall's item, and what history last showed ("" if nothing)."""

    item: RecallItem
    verification: str

    @property
    def is_gone(self) -> bool:
        """Whether history has shown that the message is gone."""
        return self.verification == RecallItem.Verification.GONE

    @property
    def is_visible(self) -> bool:
        """Whether history still showed the message after a recall."""
        return self.verification == RecallItem.Verification.STILL_VISIBLE


def named_by(items: models.QuerySet[RecallItem]) -> dict[tuple[int, int], Named]:
    """Latest item and verification for each (conversation, timestamp in ms) of `items`; one query."""
    named: dict[tuple[int, int], Named] = {}
    for item in items.select_related("batch", "recall").order_by("recall__created_at"):
        place = (item.recall.conversation_id, item.timestamp)
        earlier = named[place].verification if place in named else ""
        named[place] = Named(item, item.verification or earlier)
    return named


class Evidence(models.Model):
    """A message as the archive knew it when the recall was requested: the exact text and its SHA-256.

    The audit log has `commitment`, the SHA-256 of `salt` and `raw` one after the other: without the salt nobody can
    tell from it what the text was. Text, salt and `sha256` are empty once the text was erased on request.
    """

    item = models.ForeignKey(RecallItem, models.PROTECT, related_name="evidence")
    message_id = models.CharField(max_length=255, blank=True, default="")
    sender_id = models.CharField(max_length=255, blank=True, default="")
    sender_name = models.CharField(max_length=255, blank=True, default="")
    type = models.CharField(max_length=64, blank=True, default="")
    raw = models.TextField()
    sha256 = models.CharField(max_length=64)
    # The salt is empty once the text was erased.
    salt = models.CharField(max_length=64, blank=True, default="")
    commitment = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        verbose_name = _("evidence")
        verbose_name_plural = _("evidence")
        default_permissions = ("view",)
        indexes = [
            # A sender's page asks for the recalls of what the sender wrote, the newest first.
            models.Index(fields=["sender_id", "id"], name="evidence_by_sender")
        ]

    def __str__(self) -> str:
        return self.sha256
