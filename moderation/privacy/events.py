"""Audit events of erasing text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from moderation.audit.events import Detail, Event
from moderation.audit.models import Action

if TYPE_CHECKING:
    from moderation.audit.sentences import Facts


@dataclass(frozen=True, kw_only=True)
class TextErased(Event):
    """Text of one sender was erased on request; `entries`: the seq of log entries whose private part was erased."""

    action = Action.TEXT_ERASED

    app: str
    timestamps: Sequence[int] | None
    sender: Annotated[str, Detail(_("Sender"), is_searched=True)]
    reason: Annotated[str, Detail(_("Reason or reference"), is_searched=True)]
    messages: Annotated[int, Detail(_("Messages"))]
    evidence: Annotated[int, Detail(_("Pieces of evidence"))]
    deliveries: Annotated[int, Detail(_("Webhook deliveries"))]
    searches: Annotated[int, Detail(_("Recorded searches"))]
    notes: Annotated[int, Detail(_("Notes"))]
    entries: Annotated[Sequence[int], Detail(_("Entries whose text is gone, by no."))]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"actor": facts.actor, "sender": facts.text("sender"), "number": facts.text("messages")}
        return gettext("%(actor)s erased text of %(sender)s (messages: %(number)s)") % said
