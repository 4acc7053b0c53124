"""Type of a request by a signed-in user, for the views' annotations."""

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from moderation.accounts.models import User


class AuthenticatedRequest(HttpRequest):
    """Request that reaches a view behind `login_required`."""

    user: User
    htmx: HtmxDetails
