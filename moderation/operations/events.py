"""Audit events of running the console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from moderation.audit.events import Detail, Event
from moderation.audit.models import Action

if TYPE_CHECKING:
    from moderation.audit.sentences import Facts


@dataclass(frozen=True, kw_only=True)
class BackupMade(Event):
    """A backup was made."""

    action = Action.BACKED_UP

    file: Annotated[str, Detail(_("File"), is_searched=True)]
    encrypted: Annotated[bool, Detail(_("Encrypted"))]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        return gettext("%(actor)s made the backup %(file)s") % {"actor": facts.actor, "file": facts.text("file")}


@dataclass(frozen=True, kw_only=True)
class BackupRestored(Event):
    """A backup was put back; what it overwrote is null if the database was empty."""

    action = Action.RESTORED

    backup: Annotated[Mapping[str, Any], Detail(_("Backup"))]
    overwritten: Annotated[Mapping[str, Any] | None, Detail(_("Log that was overwritten"))]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        return gettext("%(actor)s put a backup back") % {"actor": facts.actor}
