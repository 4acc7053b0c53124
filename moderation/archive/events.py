"""Audit events of reading the archive, searching it, and holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from moderation.audit.events import Detail, Event, Private
from moderation.audit.models import Action

if TYPE_CHECKING:
    from moderation.audit.sentences import Facts


@dataclass(frozen=True, kw_only=True)
class ConversationOpened(Event):
    """Somebody was shown messages of a conversation."""

    action = Action.CONVERSATION_OPENED

    app: str
    conversation: Mapping[str, str]
    page: Annotated[str, Detail(_("Page"))]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        return gettext("%(actor)s opened %(where)s") % {"actor": facts.actor, "where": facts.where}


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

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        return gettext("%(actor)s put %(where)s on hold") % {"actor": facts.actor, "where": facts.where}


@dataclass(frozen=True, kw_only=True)
class ConversationReleased(HoldChanged):
    """The hold of a conversation ended."""

    action = Action.RELEASED

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        return gettext("%(actor)s ended the hold of %(where)s") % {"actor": facts.actor, "where": facts.where}


@dataclass(frozen=True, kw_only=True)
class Searched(Event):
    """Somebody searched for messages, conversations or a sender."""

    action = Action.SEARCHED

    page: Annotated[str, Detail(_("Page"))]
    asked: Annotated[Mapping[str, Any], Private(_("Search"))]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        return gettext("%(actor)s searched for messages, conversations or people") % {"actor": facts.actor}
