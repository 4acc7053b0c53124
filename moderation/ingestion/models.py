"""What the webhook delivered and how it has gone, and what of history could not be read."""

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

# Of each the beginning is kept: far more than a message has (its text is at most 3 KB).
MAX_UNREADABLE_LENGTH = 16_384


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    """Deliveries by what is left to do with them."""

    def due(self) -> WebhookDeliveryQuerySet:
        """Those that a worker is to read now, the longest due first."""
        return self.filter(state=WebhookDelivery.State.WAITING, retry_at__lte=timezone.now()).order_by("retry_at")


class WebhookDelivery(models.Model):
    """What GoEasy's webhook delivered, to the byte. A row of it was committed before it was acknowledged.

    What was read is deleted after WEBHOOK_KEEP_DAYS; what could not be read is kept for ever.
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
    # How the content travelled: "form", "json" or "multipart".
    form = models.CharField(max_length=12, blank=True, default="")
    state = models.CharField(_("state"), max_length=8, choices=State)
    # Why it waits or was not read: a name in PROBLEMS; and of what in it that is true.
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
            # The latest one, how many came in a minute, and which are old enough to go.
            models.Index(fields=["application", "received_at"], name="delivery_by_time"),
            # What the worker looks for.
            models.Index(fields=["retry_at"], condition=models.Q(state="waiting"), name="delivery_waiting"),
            # What an admin looks for.
            models.Index(fields=["application", "id"], condition=models.Q(state="unread"), name="delivery_unread"),
        ]

    def __str__(self) -> str:
        return f"{self.application_id} {self.received_at:%Y-%m-%d %H:%M:%S}"

    @property
    def why(self) -> str:
        """Why it waits, was not read or is kept apart; empty when there is nothing to say. Nothing of its content."""
        return str(PROBLEMS.get(self.problem, self.problem))

    def record_reading(self) -> None:
        """Record that the account of the current request is about to read its text; once an hour for each reader."""
        fields: dict[str, Any] = {"action": Action.DELIVERY_READ, "app": self.application.slug}
        if not was_recorded_lately(**fields, detail__delivery=self.pk):
            record(DeliveryRead(actor=current_actor(), app=self.application.slug, delivery=self.pk))


class Feed(models.Model):
    """How an application's webhook does, as the worker saw it last."""

    application = models.OneToOneField(Application, models.CASCADE, primary_key=True)
    first_at = models.DateTimeField(null=True)
    last_at = models.DateTimeField(null=True)
    # Deliveries received before then are in FeedCount.
    counted_until = models.DateTimeField(null=True)
    # When history last had what the webhook should have brought.
    gap_at = models.DateTimeField(null=True)
    # What is wrong ("" is well), since when, and when the admins were told by e-mail.
    alarm = models.CharField(max_length=8, blank=True, default="")
    alarm_at = models.DateTimeField(null=True)
    mailed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.application_id} {self.alarm or 'well'}"


class FeedCount(models.Model):
    """How often something (`ingestion/feed.py`, `What`) happened to an application's webhook in an hour (UTC)."""

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
    """An element of a conversation's history that is no message as this version reads them, kept as it came.

    `ingestion/unreadable.py` is the only writer.
    """

    conversation = models.ForeignKey(Conversation, models.PROTECT, verbose_name=_("conversation"))
    # The exact JSON text that GoEasy wrote, or its beginning; the SHA-256 in hex and the length are of all of it.
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
