"""Applications to configure; conversations, messages and deliveries to read."""

from moderation.archive.admin import applications, conversations, deliveries

__all__ = ["applications", "conversations", "deliveries"]
