"""What the search does when the archive changes; in the archive's transaction."""

from collections.abc import Sequence
from typing import Any

from moderation.archive import signals
from moderation.archive.models import Message
from moderation.search import index


def connect() -> None:
    """Follow what the archive tells."""
    signals.added.connect(add)
    signals.changed.connect(replace)
    signals.forgotten.connect(forget)


def add(messages: Sequence[Message], **_signal: Any) -> None:
    index.add(messages)


def replace(messages: Sequence[Message], **_signal: Any) -> None:
    index.replace(messages)


def forget(pks: Sequence[int], **_signal: Any) -> None:
    index.forget(pks)
