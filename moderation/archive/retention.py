"""Deletion of old messages, except in conversations on hold. The evidence of recalls is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from moderation.applications.models import Application
from moderation.archive import signals
from moderation.archive.events import ConversationHeld, ConversationReleased
from moderation.archive.models import Conversation, Message
from moderation.archive.moments import in_ms
from moderation.audit.services import record
from moderation.reviewed import Aspects, Changed, Seen, aspect, not_shown_error

# Conversations examined in one step, and messages deleted in one commit.
CONVERSATIONS_A_STEP = 200
MESSAGES_AT_ONCE = 500


def prune(after: int = 0) -> int:
    """Run one step: delete expired messages of the next conversations with keys greater than `after`.

    Returns the key to continue after; 0 at the end of a round. Evidence is a copy and stays.
    """
    limits = {each.pk: each.keep_days for each in Application.objects.filter(keep_days__isnull=False)}
    if not limits:
        return 0
    now = timezone.now()
    unheld = Conversation.objects.filter(pk__gt=after, held_at__isnull=True, application__in=limits).order_by("pk")
    batch = list(unheld.values_list("pk", "application_id")[:CONVERSATIONS_A_STEP])
    for pk, application in batch:
        delete_older(pk, in_ms(now - timedelta(days=limits[application] or 0)))
    return batch[-1][0] if len(batch) == CONVERSATIONS_A_STEP else 0


class Pruner:
    """Pruning of all conversations in rounds, one step at a time."""

    def __init__(self) -> None:
        self._after = 0

    def prune(self) -> None:
        self._after = prune(self._after)


def delete_older(conversation: int, until: int) -> int:
    """Delete the conversation's messages from before `until` (ms), unless it is on hold; returns how many."""
    deleted = 0
    while True:
        with transaction.atomic():
            # The lock makes a concurrent hold wait; once it is set, nothing more is deleted.
            if not Conversation.objects.select_for_update().filter(pk=conversation, held_at__isnull=True).exists():
                return deleted
            keys = _older(conversation, until)
            if not keys:
                seen_before = datetime.fromtimestamp(until / 1000, UTC)
                signals.pruned.send(None, conversation=conversation, seen_before=seen_before)
                return deleted
            signals.forgotten.send(None, pks=keys)
            Message.objects.filter(pk__in=keys).delete()
            deleted += len(keys)


def _older(conversation: int, until: int) -> list[int]:
    """Keys of the next messages from before `until` (ms) that may be deleted.

    A message with an implausible timestamp is as old as its arrival, so that it is deleted neither too early nor never.
    """
    of_it = Message.objects.filter(conversation=conversation)
    by_time = of_it.filter(placed_at=None, timestamp__lt=until).order_by("timestamp", "id")
    by_arrival = of_it.filter(placed_at__lt=until).order_by("placed_at", "id")
    for old in (by_time, by_arrival):
        # The row of an erased message stays, because history would otherwise bring its text back.
        if keys := list(old.exclude(sha256="").values_list("pk", flat=True)[:MESSAGES_AT_ONCE]):
            return keys
    return []


def hold(conversation: Conversation, actor: str, note: str, seen: Seen | None = None) -> None:
    """Put the conversation on hold until `release()`; `actor` is a user name. A repeated hold replaces actor and note.

    `seen`: what the page showed to the person. Raises Changed.
    """
    _set(conversation, actor, note, seen, held=True)


def release(conversation: Conversation, actor: str, note: str, seen: Seen | None = None) -> None:
    """End the hold; expired messages go in the next round. `seen`: what the page showed. Raises Changed."""
    _set(conversation, actor, note, seen, held=False)


def to_hold(conversation: Conversation) -> Aspects:
    """The state of the hold that a page shows before it is changed."""
    return {"hold": aspect([conversation.held_at, conversation.held_by, conversation.hold_note])}


def _set(conversation: Conversation, actor: str, note: str, seen: Seen | None, *, held: bool) -> None:
    with transaction.atomic():
        locked = Conversation.objects.select_for_update(of=("self",)).select_related("application")
        conversation = locked.get(pk=conversation.pk)
        if seen and seen.differences(to_hold(conversation)):
            raise Changed([_hold_changed(conversation)]) if seen.aspects else not_shown_error()
        conversation.held_at = timezone.now() if held else None
        conversation.held_by = actor if held else ""
        conversation.hold_note = note if held else ""
        conversation.save(update_fields=["held_at", "held_by", "hold_note"])
        event = ConversationHeld if held else ConversationReleased
        app, subject = conversation.application.slug, conversation.for_audit()
        record(event(actor=actor, app=app, conversation=subject, note=note))


def _hold_changed(conversation: Conversation) -> str:
    """Message for a hold that somebody else changed meanwhile."""
    if conversation.held_at:
        who = {"who": conversation.held_by}
        return _("%(who)s has put this conversation on hold since you looked. Nothing was done.") % who
    return _("The hold has ended since you looked. Nothing was done.")
