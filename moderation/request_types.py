"""Type of a request by a signed-in user, for the views' annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails

    from moderation.accounts.models import User


class AuthenticatedRequest(HttpRequest):
    """Request that reaches a view behind `login_required`."""

    user: User
    htmx: HtmxDetails
