"""Audit events of applications and their keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from moderation.audit.events import Detail, Event, RowChanged
from moderation.audit.models import Action

if TYPE_CHECKING:
    from moderation.audit.sentences import Facts


@dataclass(frozen=True, kw_only=True)
class ApplicationChanged(RowChanged):
    """An application was added, changed or deleted. Of keys, only the fact of a change is recorded."""

    action = Action.APPLICATION_CHANGED
    sentences = {
        "added": _("%(actor)s added the application “%(name)s”"),
        "changed": _("%(actor)s changed the application “%(name)s”"),
        "deleted": _("%(actor)s deleted the application “%(name)s”"),
    }
    labels = {"appkey_sealed": _("appkey"), "secret_keys_sealed": _("webhook secrets")}


@dataclass(frozen=True, kw_only=True)
class KeysRotated(Event):
    """Stored keys were encrypted again with the current encryption key."""

    action = Action.KEYS_ROTATED

    rotated: Annotated[int, Detail(_("Keys encrypted anew"))]
    unreadable: Annotated[int, Detail(_("Keys that cannot be opened"))]
    applications: Annotated[Sequence[str], Detail(_("Applications"), is_searched=True)]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"actor": facts.actor, "number": facts.text("rotated")}
        return gettext("%(actor)s encrypted %(number)s stored keys anew") % said
