"""What GoEasy's history holds that could not be read as messages."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual
from django.utils.translation import gettext_lazy as _

from moderation.archive.models.conversations import Conversation

# Of each the beginning is kept: far more than a message has (its text is at most 3 KB).
MAX_UNREADABLE_LENGTH = 16_384


class UnreadableMessage(models.Model):
    """An element of a conversation's history that is no message as this version reads them, kept as it came.

    `archive/unreadable.py` is the only writer.
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
