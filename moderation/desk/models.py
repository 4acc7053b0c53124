"""What each person has seen of each conversation, and the searches that they keep."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from moderation.archive.models import Conversation


class ReadMarker(models.Model):
    """What had arrived in a conversation when a person last looked at its newest messages (`read_markers.py`)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="+")
    # The mark as `archive/arrivals.py` writes it, and its floor, a row id, for the query of what is unread.
    mark = models.TextField()
    floor = models.BigIntegerField()
    # Place (ms) of the first message that the page had: what arrives late and stands before it is not unread.
    since = models.BigIntegerField()

    class Meta:
        verbose_name = _("read marker")
        verbose_name_plural = _("read markers")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["user", "conversation"], name="one_read_marker_per_person_and_conversation"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.conversation_id} {self.mark}"


class SavedSearch(models.Model):
    """A search that a person uses again, with its filters. `query`: the query string of the list of conversations."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="saved_searches", db_index=False)
    name = models.CharField(_("name"), max_length=60)
    query = models.TextField()

    class Meta:
        verbose_name = _("saved search")
        verbose_name_plural = _("saved searches")
        default_permissions = ()
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["user", "name"], name="a_person_gives_a_name_to_one_search"),
            models.CheckConstraint(condition=~models.Q(name=""), name="a_saved_search_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name
