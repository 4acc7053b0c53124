"""Audit events of webhook deliveries."""

from dataclasses import dataclass
from typing import Annotated

from django.utils.translation import gettext_lazy as _

from moderation.audit.events import Detail, Event
from moderation.audit.models import Action


@dataclass(frozen=True, kw_only=True)
class DeliveryRead(Event):
    """Somebody was shown the text of a webhook delivery."""

    action = Action.DELIVERY_READ

    app: str
    delivery: Annotated[int, Detail(_("Delivery"))]
