"""Webhook deliveries, the state and counts of feeds, and unreadable elements of history."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from moderation.applications.models import Application
from moderation.archive.models import Conversation
from moderation.audit.models import Action
from moderation.audit.request_context import current_actor
from moderation.audit.services import record, was_recorded_lately
from moderation.ingestion.events import DeliveryRead

PROBLEMS: dict[str, str | Promise] = {
    "large": _("It is large: the worker reads it."),
    "failed": _("It could not be put into the archive."),
    "not_utf8": _("It is not text in UTF-8."),
    "not_json": _("It is not JSON."),
    "no_message": _("It holds what is no message: an object with a timestamp in milliseconds."),
    "no_conversation": _(
        "It holds a message that names no conversation: neither a groupId, nor a senderId and a receiverId."
    ),
    "apart": _("It holds messages of customer service or PubSub. They cannot be recalled and are not in the archive."),
}

# Longer elements are cut; a message is far shorter (its text has at most 3 KB).
MAX_UNREADABLE_LENGTH = 16_384


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    """Queries for deliveries."""

    def due(self) -> WebhookDeliveryQuerySet:
        """Deliveries that a worker should read now, the longest due first."""
        return self.filter(state=WebhookDelivery.State.WAITING, retry_at__lte=timezone.now()).order_by("retry_at")


class WebhookDelivery(models.Model):
    """A webhook delivery, byte for byte, committed before it is acknowledged.

    A delivery that was read is deleted after WEBHOOK_KEEP_DAYS; an unreadable one is kept for ever.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting for the worker")
        DONE = "done", _("in the archive")
        APART = "apart", _("customer service or PubSub, not in the archive")
        UNREAD = "unread", _("could not be read")

    application = models.ForeignKey(Application, models.PROTECT, verbose_name=_("application"))
    received_at = models.DateTimeField(_("received"))
    content = models.BinaryField(_("content"))
    sha256 = models.CharField(max_length=64)
    # The encoding of the request: "form", "json" or "multipart".
    form = models.CharField(max_length=12, blank=True, default="")
    state = models.CharField(_("state"), max_length=8, choices=State)
    # Why it waits or was not read: a key of PROBLEMS, and details of it.
    problem = models.CharField(_("problem"), max_length=32, blank=True, default="")
    detail = models.CharField(max_length=500, blank=True, default="")
    tries = models.PositiveIntegerField(_("tries"), default=0)
    retry_at = models.DateTimeField(null=True)

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        constraints = [
            models.UniqueConstraint(fields=["application", "sha256"], name="one_delivery_per_application_and_content"),
        ]
        indexes = [
            # The latest delivery, the number per minute, and those old enough to be deleted.
            models.Index(fields=["application", "received_at"], name="delivery_by_time"),
            # The worker's queue.
            models.Index(fields=["retry_at"], condition=models.Q(state="waiting"), name="delivery_waiting"),
            # The admin's list of unreadable deliveries, and the alarm.
            models.Index(fields=["application", "id"], condition=models.Q(state="unread"), name="delivery_unread"),
        ]

    def __str__(self) -> str:
        return f"{self.application_id} {self.received_at:%Y-%m-%d %H:%M:%S}"

    @property
    def why(self) -> str:
        """Why it waits, was not read or is not IM; else empty. Contains nothing of its content."""
        return str(PROBLEMS.get(self.problem, self.problem))

    def record_reading(self) -> None:
        """Record that the current user is about to read its text; once an hour for each reader."""
        fields: dict[str, Any] = {"action": Action.DELIVERY_READ, "app": self.application.slug}
        if not was_recorded_lately(**fields, detail__delivery=self.pk):
            record(DeliveryRead(actor=current_actor(), app=self.application.slug, delivery=self.pk))


class Feed(models.Model):
    """The state of an application's webhook feed, as last checked by the worker."""

    application = models.OneToOneField(Application, models.CASCADE, primary_key=True)
    first_at = models.DateTimeField(null=True)
    last_at = models.DateTimeField(null=True)
    # Deliveries received before this time are counted in FeedCount.
    counted_until = models.DateTimeField(null=True)
    # When history last had a message that the webhook should have delivered.
    gap_at = models.DateTimeField(null=True)
    # The alarm ("" for none), since when, and when the admins got an e-mail.
    alarm = models.CharField(max_length=8, blank=True, default="")
    alarm_at = models.DateTimeField(null=True)
    mailed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.application_id} {self.alarm or 'well'}"


class FeedCount(models.Model):
    """The value of a metric (`ingestion/feed.py`, `Metric`) of an application's webhook in an hour (UTC)."""

    application = models.ForeignKey(Application, models.CASCADE)
    hour = models.DateTimeField()
    what = models.CharField(max_length=20)
    number = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["application", "hour", "what"], name="one_count_per_hour_and_what"),
        ]

    def __str__(self) -> str:
        return f"{self.what} {self.hour:%Y-%m-%d %H}h: {self.number}"


class UnreadableMessage(models.Model):
    """An element of a conversation's history that this version cannot read as a message, kept as received.

    `ingestion/unreadable.py` is the only writer.
    """

    conversation = models.ForeignKey(Conversation, models.PROTECT, verbose_name=_("conversation"))
    # The exact JSON text from GoEasy, or its beginning; SHA-256 (hex) and length are those of the whole text.
    raw = models.TextField(_("raw message"))
    sha256 = models.CharField(max_length=64)
    length = models.PositiveIntegerField(_("characters"))
    seen_at = models.DateTimeField(_("first seen"), auto_now_add=True)

    class Meta:
        verbose_name = _("message that could not be read")
        verbose_name_plural = _("messages that could not be read")
        constraints = [
            models.UniqueConstraint(
                fields=["conversation", "sha256"], name="one_unreadable_message_per_conversation_and_text"
            ),
            models.CheckConstraint(
                condition=LessThanOrEqual(Length("raw"), MAX_UNREADABLE_LENGTH),
                name="unreadable_message_is_bounded",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.sha256[:12]}"
