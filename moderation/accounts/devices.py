"""Devices that signed in before, by a long-lived signed cookie: nobody else's wrong passwords keep them out.

The cookie opens nothing. It names the accounts that signed in with this browser, the latest first, each with a random
number for the device that is renewed whenever somebody signs in, and with a proof that ends with the password.
"""

import hmac
import secrets
from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac

from moderation.accounts.models import User

LIFETIME = timedelta(days=180)
SALT = "moderation.accounts.devices"
# Accounts of one browser that are remembered.
MAX_ACCOUNTS = 5


def cookie_name() -> str:
    """With TLS, a name that browsers take from this host alone."""
    return "__Host-device" if settings.SESSION_COOKIE_SECURE else "device"


def proof(user: User, device: str) -> str:
    """What only this console can make of a device for this account, as long as its password stays the same."""
    return salted_hmac(SALT, f"{device} {user.pk} {user.password}", algorithm="sha256").hexdigest()[:32]


def remembered(request: HttpRequest) -> list[tuple[int, str, str]]:
    """Key, device and proof of each account that signed in with this browser, the latest first."""
    try:
        rows = signing.loads(request.COOKIES.get(cookie_name(), ""), salt=SALT, max_age=LIFETIME)
        return [(int(pk), str(device), str(given)) for pk, device, given in rows][:MAX_ACCOUNTS]
    except (signing.BadSignature, TypeError, ValueError):
        return []


def device_of(request: HttpRequest, name: str) -> str:
    """The device by which this browser signed in to the account `name` before; empty if it did not."""
    rows = remembered(request)
    user = User.objects.filter(username=name, pk__in=[pk for pk, _device, _proof in rows]).first() if rows else None
    for pk, device, given in rows:
        if user and pk == user.pk and hmac.compare_digest(given, proof(user, device)):
            return device
    return ""


def last_account(request: HttpRequest) -> User | None:
    """The account that signed in last with this browser; None if it cannot sign in any more, or nobody did."""
    rows = remembered(request)
    user = User.objects.filter(pk=rows[0][0], is_active=True).first() if rows else None
    return user if user and hmac.compare_digest(rows[0][2], proof(user, rows[0][1])) else None


def remember(request: HttpRequest, response: HttpResponse, user: User) -> None:
    """Have the browser keep that `user` signed in with it."""
    device = secrets.token_urlsafe(12)
    others = [row for row in remembered(request) if row[0] != user.pk]
    rows = [(user.pk, device, proof(user, device)), *others][:MAX_ACCOUNTS]
    response.set_cookie(
        cookie_name(),
        signing.dumps(rows, salt=SALT),
        max_age=LIFETIME,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
