"""Receivers that update the index inside the archive's transaction."""

from collections.abc import Sequence
from typing import Any

from moderation.archive import signals
from moderation.archive.models import Message
from moderation.search import index


def connect() -> None:
    """Connect the receivers to the archive's signals."""
    signals.added.connect(add)
    signals.changed.connect(replace)
    signals.forgotten.connect(forget)


def add(messages: Sequence[Message], **_signal: Any) -> None:
    index.add(messages)


def replace(messages: Sequence[Message], **_signal: Any) -> None:
    index.replace(messages)


def forget(pks: Sequence[int], **_signal: Any) -> None:
    index.forget(pks)
