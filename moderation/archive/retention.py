"""How long the archive keeps messages, and what is kept longer: conversations on hold, and the evidence of recalls."""

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

# So many conversations are looked at in one step, and so many messages deleted in one commit.
CONVERSATIONS_A_STEP = 200
MESSAGES_AT_ONCE = 500


def prune(after: int = 0) -> int:
    """One step: delete what is too old of the conversations with keys beyond `after`.

    Returns the key to go on after; 0 when the round is over. Evidence is a copy and stays.
    """
    limits = {each.pk: each.keep_days for each in Application.objects.filter(keep_days__isnull=False)}
    if not limits:
        return 0
    now = timezone.now()
    some = Conversation.objects.filter(pk__gt=after, held_at__isnull=True, application__in=limits).order_by("pk")
    found = list(some.values_list("pk", "application_id")[:CONVERSATIONS_A_STEP])
    for pk, application in found:
        delete_older(pk, in_ms(now - timedelta(days=limits[application] or 0)))
    return found[-1][0] if len(found) == CONVERSATIONS_A_STEP else 0


class Pruner:
    """Goes through all conversations, a step at a time, again and again."""

    def __init__(self) -> None:
        self._after = 0

    def prune(self) -> None:
        self._after = prune(self._after)


def delete_older(conversation: int, until: int) -> int:
    """Delete the conversation's messages from before `until` (ms), unless it is on hold; returns how many."""
    deleted = 0
    while True:
        with transaction.atomic():
            # Whoever puts it on hold meanwhile waits, and then nothing more goes.
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
    """The keys of some of the conversation's messages from before `until` (ms) that may go.

    What carries no plausible time is as old as its arrival: no such time deletes early, or keeps for ever.
    """
    of_it = Message.objects.filter(conversation=conversation)
    by_time = of_it.filter(placed_at=None, timestamp__lt=until).order_by("timestamp", "id")
    by_arrival = of_it.filter(placed_at__lt=until).order_by("placed_at", "id")
    for old in (by_time, by_arrival):
        # Without what is left of an erased message, history would bring its text back.
        if keys := list(old.exclude(sha256="").values_list("pk", flat=True)[:MESSAGES_AT_ONCE]):
            return keys
    return []


def hold(conversation: Conversation, actor: str, note: str, seen: Seen | None = None) -> None:
    """Keep everything of the conversation until `release()`; `actor` is a user name. Once more changes who and why.

    `seen`: what the person was shown. Raises Changed.
    """
    _set(conversation, actor, note, seen, held=True)


def release(conversation: Conversation, actor: str, note: str, seen: Seen | None = None) -> None:
    """End the hold: what is too old goes with the next round. `seen`: what the person was shown. Raises Changed."""
    _set(conversation, actor, note, seen, held=False)


def to_hold(conversation: Conversation) -> Aspects:
    """What a page shows to a person who puts the conversation on hold, or ends the hold."""
    return {"hold": aspect([conversation.held_at, conversation.held_by, conversation.hold_note])}


def _set(conversation: Conversation, actor: str, note: str, seen: Seen | None, *, held: bool) -> None:
    with transaction.atomic():
        found = Conversation.objects.select_for_update(of=("self",)).select_related("application")
        conversation = found.get(pk=conversation.pk)
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
    """What somebody else did about the hold meanwhile."""
    if conversation.held_at:
        who = {"who": conversation.held_by}
        return _("%(who)s has put this conversation on hold since you looked. Nothing was done.") % who
    return _("The hold has ended since you looked. Nothing was done.")
