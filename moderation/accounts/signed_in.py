"""The request of somebody who is signed in, as the views' types have it."""

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from moderation.accounts.models import User


class SignedIn(HttpRequest):
    """What a view behind `login_required` gets, after the middleware."""

    user: User
    htmx: HtmxDetails
