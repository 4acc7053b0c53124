"""The messages that an entry of the audit log is about, for its page, and the way to their conversation."""

from __future__ import annotations

from django.http import HttpRequest
from django.template.loader import render_to_string

from moderation.archive.messages import read
from moderation.archive.models import Conversation, Message
from moderation.archive.names import titled, with_writers
from moderation.audit.models import AuditEntry
from moderation.read_only_admin import moment_ms

MAX_MESSAGES = 10
MAX_TEXT = 300
PAGE = "admin: audit entry"


def messages_section(request: HttpRequest, entry: AuditEntry) -> str:
    """The archive's messages at the entry's timestamps, for whoever may read messages; recorded as an opening."""
    if not entry.kind or not request.user.has_perm("archive.view_message"):
        return ""
    names = {"kind": entry.kind, "user_a": entry.user_a, "user_b": entry.user_b, "group_id": entry.group_id}
    found = Conversation.objects.filter(application__slug=entry.app, **names).select_related("application").first()
    if found is None:
        return ""
    titled([found])
    timestamps = list(dict.fromkeys(entry.timestamps or ()))
    shown = lines(found, timestamps[:MAX_MESSAGES]) if timestamps else []
    if any(line["messages"] for line in shown):
        found.record_opening(PAGE)
    context = {"conversation": found, "lines": shown, "more": max(0, len(timestamps) - MAX_MESSAGES)}
    return render_to_string("admin/archive/_entry_messages.html", context, request)


def lines(conversation: Conversation, timestamps: list[int]) -> list[dict[str, object]]:
    """Each timestamp (ms) with the messages that the archive has there; three queries."""
    at: dict[int, list[Message]] = {timestamp: [] for timestamp in timestamps}
    messages = Message.objects.filter(conversation=conversation, timestamp__in=timestamps).select_related(
        "conversation"
    )
    for message in with_writers(messages.order_by("pk")):
        message.line = "" if message.is_erased else read(message.raw).snippet(MAX_TEXT)  # type: ignore[attr-defined]
        at[message.timestamp].append(message)
    return [{"timestamp": each, "time": moment_ms(each), "messages": found} for each, found in at.items()]
