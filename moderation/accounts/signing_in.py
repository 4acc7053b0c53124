"""Signing in and out as entries of the audit log: whichever form is used, Django tells of it by these signals.

Each is sent before the session is kept or flushed, so that what cannot be recorded does not happen: the page fails, and
a page that fails keeps no session.
"""

import time
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed

from moderation.accounts.events import SignedIn, SignedOut, SignInFailed
from moderation.audit.request_context import NOBODY
from moderation.audit.services import record


def connect() -> None:
    """Called once, when the apps are ready: before Django's own receiver, which notes the time in the account."""
    user_logged_in.connect(signed_in)
    user_logged_out.connect(signed_out)
    user_login_failed.connect(failed)


def signed_in(*, user: Any, request: Any = None, **_signal: Any) -> None:
    record(SignedIn(actor=user.get_username()))
    if request is not None:
        # `middleware.remember_device` has the browser keep it.
        request.signed_in_now = user
        # As `middleware.renew_session` notes it later.
        request.session["began"] = request.session["used"] = int(time.time())


def signed_out(*, user: Any, **_signal: Any) -> None:
    # None: the session had ended already.
    if user is not None:
        record(SignedOut(actor=user.get_username()))


def failed(*, credentials: dict[str, Any], request: Any = None, **_signal: Any) -> None:
    """Somebody did not get in. Nothing is kept of a name that no account has: people type passwords there.

    Not a part of its hash either, which would let a password be guessed.
    """
    name = str(credentials.get("username", ""))
    exists = get_user_model()._default_manager.filter(username=name).exists()
    # `attempts.limits_of` says when an address has filled enough of the log.
    if exists or not getattr(request, "fills_the_log", False):
        refused(name if exists else None, "credentials")


def refused(account: str | None, why: str) -> None:
    """Record that a sign-in to `account` (None: one that does not exist) failed."""
    record(SignInFailed(actor=NOBODY, account=account, why=why))
