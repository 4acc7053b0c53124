"""How an application's webhook does: what came, what went wrong, and whether it has fallen silent."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import Error, models
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from moderation.archive.models import Application, FeedCount

log = logging.getLogger(__name__)


class What(models.TextChoices):
    """What is counted by the hour."""

    DELIVERED = "delivered", _("deliveries stored")
    REPEATED = "repeated", _("deliveries that had come before")
    UNREAD = "unread", _("signed, but not to be read")
    UNSIGNED = "unsigned", _("without a signature")
    WRONG_SIGNATURE = "wrong_signature", _("with a wrong signature")
    NO_SECRET = "no_secret", _("refused because the application has no SecretKey")
    TOO_LARGE = "too_large", _("larger than 1 MB")
    NOT_STORED = "not_stored", _("not stored, because the database did not take them")
    MISSED = "missed", _("messages that only history had")


def hour_of(at: datetime) -> datetime:
    """The beginning of the hour."""
    return at.replace(minute=0, second=0, microsecond=0)


def count(application: Application, what: What, number: int = 1, *, at: datetime | None = None) -> None:
    """Add `number` to what happened in the hour of `at` (default: now). A count is never worth an error."""
    key = {"application": application, "hour": hour_of(at or timezone.now()), "what": what}
    try:
        counts = FeedCount.objects.filter(**key)
        if not counts.update(number=F("number") + number):
            FeedCount.objects.bulk_create([FeedCount(**key)], ignore_conflicts=True)
            counts.update(number=F("number") + number)
    except Error as error:
        log.warning("feed of %s: %s not counted: %s", application.slug, what, error)
