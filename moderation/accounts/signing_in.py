"""Audit entries for sign-in, sign-out and failed sign-in, from Django's signals, whichever form is used.

The signals are sent before the session is saved or flushed. If an entry cannot be written, the request fails and no
session is saved.
"""

import time
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed

from moderation.accounts.events import SignedIn, SignedOut, SignInFailed
from moderation.audit.request_context import NOBODY
from moderation.audit.services import record


def connect() -> None:
    """Connect the receivers when the apps are ready, before Django's own, which updates `last_login`."""
    user_logged_in.connect(record_sign_in)
    user_logged_out.connect(record_sign_out)
    user_login_failed.connect(record_login_failure)


def record_sign_in(*, user: Any, request: Any = None, **_signal: Any) -> None:
    record(SignedIn(actor=user.get_username()))
    if request is not None:
        # `middleware.remember_device` reads it.
        request.signed_in_now = user
        # `middleware.renew_session` updates it.
        request.session["began"] = request.session["used"] = int(time.time())


def record_sign_out(*, user: Any, **_signal: Any) -> None:
    # None if the session had already ended.
    if user is not None:
        record(SignedOut(actor=user.get_username()))


def record_login_failure(*, credentials: dict[str, Any], request: Any = None, **_signal: Any) -> None:
    """Record a failed sign-in. A name that no account has is not stored: people type passwords there.

    Nor is a part of its hash, from which a password could be guessed.
    """
    name = str(credentials.get("username", ""))
    exists = get_user_model()._default_manager.filter(username=name).exists()
    # Set by `attempts.limits_for` once an address has caused enough entries.
    if exists or not getattr(request, "skip_unknown_names", False):
        record_failure(name if exists else None, "credentials")


def record_failure(account: str | None, why: str) -> None:
    """Record a failed sign-in to `account`; None stands for an account that does not exist."""
    record(SignInFailed(actor=NOBODY, account=account, why=why))
