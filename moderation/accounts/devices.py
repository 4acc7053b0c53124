"""Known devices, by a long-lived signed cookie: failed attempts from elsewhere do not lock them out.

The cookie grants no access. It lists the accounts that signed in with this browser, the latest first, each with a
random device id, renewed at every sign-in, and a proof that becomes invalid when the password changes.
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
# Accounts remembered per browser.
MAX_ACCOUNTS = 5


def cookie_name() -> str:
    """Name of the cookie; with TLS, one that browsers accept from this host alone."""
    return "__Host-device" if settings.SESSION_COOKIE_SECURE else "device"


def proof(user: User, device: str) -> str:
    """Keyed hash that binds `device` to the account and its current password."""
    return salted_hmac(SALT, f"{device} {user.pk} {user.password}", algorithm="sha256").hexdigest()[:32]


def remembered_accounts(request: HttpRequest) -> list[tuple[int, str, str]]:
    """Primary key, device id and proof of each account that signed in with this browser, the latest first."""
    try:
        rows = signing.loads(request.COOKIES.get(cookie_name(), ""), salt=SALT, max_age=LIFETIME)
        return [(int(pk), str(device), str(digest)) for pk, device, digest in rows][:MAX_ACCOUNTS]
    except (signing.BadSignature, TypeError, ValueError):
        return []


def device_for(request: HttpRequest, name: str) -> str:
    """Device id with which this browser signed in to the account `name` before; empty if it did not."""
    rows = remembered_accounts(request)
    user = User.objects.filter(username=name, pk__in=[pk for pk, _device, _proof in rows]).first() if rows else None
    for pk, device, digest in rows:
        if user and pk == user.pk and hmac.compare_digest(digest, proof(user, device)):
            return device
    return ""


def last_account(request: HttpRequest) -> User | None:
    """Account that signed in last with this browser; None if there is none or it can no longer sign in."""
    rows = remembered_accounts(request)
    user = User.objects.filter(pk=rows[0][0], is_active=True).first() if rows else None
    return user if user and hmac.compare_digest(rows[0][2], proof(user, rows[0][1])) else None


def remember(request: HttpRequest, response: HttpResponse, user: User) -> None:
    """Set the cookie that marks this browser as a known device of `user`."""
    device = secrets.token_urlsafe(12)
    others = [row for row in remembered_accounts(request) if row[0] != user.pk]
    rows = [(user.pk, device, proof(user, device)), *others][:MAX_ACCOUNTS]
    response.set_cookie(
        cookie_name(),
        signing.dumps(rows, salt=SALT),
        max_age=LIFETIME,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
