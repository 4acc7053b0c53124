"""What is known of messages' words."""

from __future__ import annotations

from django.db import models

from moderation.archive.models import Message


class SearchText(models.Model):
    """A message's words as they are searched (`search/index.py`, which adds an index that Django has no name for)."""

    message = models.OneToOneField(Message, models.CASCADE, primary_key=True)
    # Normalised (`search/normalise.py`).
    text = models.TextField()
    # `text` without white space and signs, and then its signs (`search/grams.py`); and by which rules both were made.
    words = models.TextField(editable=False)
    rules = models.PositiveIntegerField(editable=False)

    def __str__(self) -> str:
        return self.text[:80]


class SearchProgress(models.Model):
    """How far the worker has come with indexing older messages by the rules `normalise.VERSION`. One row.

    Up to the message with the id `done` all are indexed by these rules; up to `older` they were there before.
    """

    rules = models.PositiveIntegerField(default=0)
    done = models.BigIntegerField(default=0)
    older = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.done} / {self.older}"

    @property
    def percent(self) -> int:
        """How much of what was there before is indexed."""
        return 100 if self.done >= self.older else 100 * self.done // self.older
