"""What the audit log tells of applications, and of reading and keeping what was archived."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from django.utils.translation import gettext_lazy as _

from moderation.audit.events import Detail, Event, Private, RowChanged
from moderation.audit.models import Action


@dataclass(frozen=True, kw_only=True)
class ApplicationChanged(RowChanged):
    """An application was added, changed or deleted; of a key only that it changed."""

    action = Action.APPLICATION_CHANGED
    labels = {"appkey_sealed": _("appkey"), "secret_keys_sealed": _("webhook secrets")}


@dataclass(frozen=True, kw_only=True)
class KeysRotated(Event):
    """Stored keys were encrypted anew with today's key."""

    action = Action.KEYS_ROTATED

    rotated: Annotated[int, Detail(_("Keys encrypted anew"))]
    unreadable: Annotated[int, Detail(_("Keys that cannot be opened"))]
    applications: Annotated[Sequence[str], Detail(_("Applications"))]


@dataclass(frozen=True, kw_only=True)
class ConversationOpened(Event):
    """Somebody was shown messages of a conversation."""

    action = Action.CONVERSATION_OPENED

    app: str
    conversation: Mapping[str, str]
    page: Annotated[str, Detail(_("Page"))]


@dataclass(frozen=True, kw_only=True)
class HoldChanged(Event):
    """A conversation's hold began or ended."""

    app: str
    conversation: Mapping[str, str]
    note: Annotated[str, Private(_("Note"))]


@dataclass(frozen=True, kw_only=True)
class ConversationHeld(HoldChanged):
    """A conversation was put on hold: retention deletes nothing of it."""

    action = Action.HELD


@dataclass(frozen=True, kw_only=True)
class ConversationReleased(HoldChanged):
    """The hold of a conversation ended."""

    action = Action.RELEASED


@dataclass(frozen=True, kw_only=True)
class DeliveryRead(Event):
    """Somebody was shown the text of a webhook delivery."""

    action = Action.DELIVERY_READ

    app: str
    delivery: Annotated[int, Detail(_("Delivery"))]


@dataclass(frozen=True, kw_only=True)
class Searched(Event):
    """Somebody looked for messages, conversations or a sender."""

    action = Action.SEARCHED

    page: Annotated[str, Detail(_("Page"))]
    asked: Annotated[Mapping[str, Any], Private(_("Search"))]
