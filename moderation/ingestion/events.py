"""Audit events of webhook deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

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
