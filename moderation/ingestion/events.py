"""Audit events of webhook deliveries, and of testing the connection to GoEasy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from moderation.applications.problems import MESSAGES
from moderation.audit.events import Detail, Event
from moderation.audit.models import Action

if TYPE_CHECKING:
    from moderation.audit.sentences import Facts


@dataclass(frozen=True, kw_only=True)
class DeliveryRead(Event):
    """Somebody was shown the text of a webhook delivery."""

    action = Action.DELIVERY_READ

    app: str
    delivery: Annotated[int, Detail(_("Delivery"))]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"actor": facts.actor, "number": facts.text("delivery"), "app": facts.entry.app}
        return gettext("%(actor)s read webhook delivery %(number)s of %(app)s") % said


@dataclass(frozen=True, kw_only=True)
class ConnectionTested(Event):
    """Somebody had history read to see whether GoEasy takes the key; a problem of null says that it does."""

    action = Action.CONNECTION_TESTED

    app: str
    http_status: int | None = None
    response_code: int | None = None
    latency_ms: int | None = None
    problem: Annotated[str | None, Detail(_("Problem"), MESSAGES)]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"actor": facts.actor, "app": facts.entry.app}
        if facts.value("problem"):
            return gettext("%(actor)s tested the connection of %(app)s: it failed") % said
        return gettext("%(actor)s tested the connection of %(app)s: GoEasy accepted the key") % said
