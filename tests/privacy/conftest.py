"""Fixtures for tests of erasure."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from moderation.archive.models import Conversation
from moderation.ingestion import deliveries
from recall import services
from recall.models import Recall
from tests.privacy.erased import AT, CANARY, OTHERS, content, message_data
from tests.recall.conftest import make_recall, messages, send

__all__ = ["make_recall", "messages", "send"]


@pytest.fixture
def recalled(private: Conversation, moderator: Any, reason: Any) -> Recall:
    """A recall of two of the webhook's messages, with the text in its note; a third message is somebody else's."""
    deliveries.accept(
        private.application,
        content(message_data(0), message_data(1), message_data(2, OTHERS, senderId="user-b", receiverId="user-a")),
    )
    return services.request_recall(
        conversation=private,
        actor=moderator,
        reason=reason,
        note=f"he wrote {CANARY}",
        timestamps=[AT, AT + 1],
        recaller=None,
        submission=uuid.uuid4(),
        grace_seconds=0,
    )
