"""What the archive keeps. Every time stamp here is GoEasy's: milliseconds since the epoch, UTC."""

from moderation.archive.models.applications import (
    DEFAULT,
    MEDIA_ORIGIN,
    Application,
    validate_media_origins,
    validate_rest_host,
)
from moderation.archive.models.conversations import (
    Conversation,
    Kind,
    Message,
    SearchProgress,
    SearchText,
    Sender,
    pair,
)
from moderation.archive.models.feed import Feed, FeedCount, WebhookDelivery
from moderation.archive.models.unreadable import UnreadableMessage

__all__ = [
    "DEFAULT",
    "MEDIA_ORIGIN",
    "Application",
    "Conversation",
    "Feed",
    "FeedCount",
    "Kind",
    "Message",
    "SearchProgress",
    "SearchText",
    "Sender",
    "UnreadableMessage",
    "WebhookDelivery",
    "pair",
    "validate_media_origins",
    "validate_rest_host",
]
