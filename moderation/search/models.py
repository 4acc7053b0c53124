"""The searchable text of messages and the progress of indexing."""

from __future__ import annotations

from django.db import models

from moderation.archive.models import Message


class SearchText(models.Model):
    """A message's searchable text. `search/index.py` writes it and the gram index, which is not a Django model."""

    message = models.OneToOneField(Message, models.CASCADE, primary_key=True)
    # Normalised (`search/normalise.py`).
    text = models.TextField()
    # `text` without white space and signs, followed by its signs (`search/grams.py`); and the version of the rules.
    words = models.TextField(editable=False)
    rules = models.PositiveIntegerField(editable=False)

    def __str__(self) -> str:
        return self.text[:80]


class SearchProgress(models.Model):
    """Progress of the worker in indexing older messages by the rules `normalise.VERSION`. One row.

    Messages up to the id `done` are indexed by these rules; those up to `older` existed before.
    """

    rules = models.PositiveIntegerField(default=0)
    done = models.BigIntegerField(default=0)
    older = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.done} / {self.older}"

    @property
    def percent(self) -> int:
        """Percentage of the older messages that is indexed."""
        return 100 if self.done >= self.older else 100 * self.done // self.older
