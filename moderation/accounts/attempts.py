"""Rate limits on password guesses: an attempt is counted before the password is checked and released if it is right.

A device that signed in to an account before (`accounts/devices.py`) has its own counter, so that other people's
attempts never lock its owner out. Attempts from other devices are counted per account, and per account and address.
An address alone never delays an account that saw no failure from it, because a whole office may share one address.
When many accounts fail from one address (password spraying), each of them gets fewer attempts from there.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import ngettext

from moderation.accounts.devices import device_for
from moderation.accounts.events import PasswordRefused
from moderation.accounts.models import AttemptCount, User
from moderation.audit.request_context import address
from moderation.audit.services import record

# A counter starts with the first attempt and is reset after WINDOW.
WINDOW = timedelta(minutes=10)
# Attempts on one account within WINDOW: from a known device, from one address, from anywhere.
MAX_PER_DEVICE, MAX_PER_ADDRESS, MAX_PER_ACCOUNT = 10, 10, 100
# Wrong current passwords within WINDOW when a signed-in user changes the password.
MAX_PASSWORD_CHECKS = 10
# An address from which attempts on this many accounts failed is spraying; its limit per account is then lower.
SPRAYED_ACCOUNTS, MAX_PER_SPRAYING_ADDRESS = 30, 2
# After this many failures from an address, sign-ins with unknown names are no longer recorded in the audit log.
MAX_UNKNOWN_NAMES_RECORDED = 30
# Expired counters deleted by one attempt: more than it adds.
MAX_PRUNED = 100

ANY_SOURCE, SESSION_SOURCE = "", "signed in"


def network(text: str) -> str:
    """The unit by which addresses are counted: an IPv4 address, or the /64 of an IPv6 address (one customer)."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return text[:64]
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))


def limits_for(request: HttpRequest, name: str) -> dict[str, int]:
    """Maximum number of attempts within WINDOW by source, for a sign-in as `name`."""
    if device := device_for(request, name):
        return {f"device {device}": MAX_PER_DEVICE}
    source = f"address {network(address(request))}"
    accounts, failures = recent_failures(source)
    # Stops anybody from flooding the audit log with names that no account has (`signing_in.record_login_failure`).
    request.skip_unknown_names = failures >= MAX_UNKNOWN_NAMES_RECORDED  # type: ignore[attr-defined]
    is_spraying = accounts >= SPRAYED_ACCOUNTS
    return {ANY_SOURCE: MAX_PER_ACCOUNT, source: MAX_PER_SPRAYING_ADDRESS if is_spraying else MAX_PER_ADDRESS}


def recent_failures(source: str) -> tuple[int, int]:
    """Number of accounts with failed attempts from `source` within WINDOW, and of those attempts; both are capped."""
    counts = AttemptCount.objects.filter(source=source, since__gt=timezone.now() - WINDOW, number__gt=0)
    numbers = list(counts.values_list("number", flat=True)[: max(SPRAYED_ACCOUNTS, MAX_UNKNOWN_NAMES_RECORDED)])
    return len(numbers), sum(numbers)


def account_hash(name: str) -> str:
    """Keyed hash that stands for `name`. The name itself is not stored: people type passwords there."""
    return salted_hmac("moderation.accounts.attempts", name, algorithm="sha256").hexdigest()


def reserve(name: str, limits: Mapping[str, int]) -> int:
    """Count one attempt on `name` for each source in `limits`, or return the seconds to wait and count nothing.

    The rows stay locked until all are counted, so that concurrent attempts cannot exceed `limits`.
    """
    now = timezone.now()
    prune(now)
    rows = [AttemptCount(account=account_hash(name), source=source, since=now) for source in sorted(limits)]
    with transaction.atomic():
        # The update changes nothing: it locks existing rows on both engines.
        AttemptCount.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["account", "source"], update_fields=["source"]
        )
        counts = list(AttemptCount.objects.filter(account=rows[0].account, source__in=limits))
        waits = [
            count.since + WINDOW - now
            for count in counts
            if count.since > now - WINDOW and count.number >= limits[count.source]
        ]
        if waits:
            return int(max(waits).total_seconds()) + 1
        for count in counts:
            is_expired = count.since <= now - WINDOW
            count.since, count.number = (now, 1) if is_expired else (count.since, count.number + 1)
        AttemptCount.objects.bulk_update(counts, ["since", "number"])
    return 0


def release(name: str, limits: Mapping[str, int]) -> None:
    """Take back the attempt that `reserve()` counted, after a right password."""
    counts = AttemptCount.objects.filter(account=account_hash(name), source__in=limits, number__gt=0)
    counts.update(number=F("number") - 1)


def prune(now: datetime) -> None:
    """Delete up to MAX_PRUNED expired counters: more than an attempt adds, so the table holds about 2 WINDOW."""
    with transaction.atomic():
        expired = AttemptCount.objects.select_for_update(skip_locked=True).filter(since__lt=now - 2 * WINDOW)
        AttemptCount.objects.filter(pk__in=list(expired.values_list("pk", flat=True)[:MAX_PRUNED])).delete()


def sign_in_limit_message(minutes: int) -> str:
    """Message of the sign-in page that asks to wait `minutes`."""
    return ngettext(
        "Too many failed sign-in attempts. Try again in %(minutes)d minute.",
        "Too many failed sign-in attempts. Try again in %(minutes)d minutes.",
        minutes,
    ) % {"minutes": minutes}


def password_limit_message(minutes: int) -> str:
    """Message of the password page that asks to wait `minutes`."""
    return ngettext(
        "Too many wrong passwords. Try again in %(minutes)d minute.",
        "Too many wrong passwords. Try again in %(minutes)d minutes.",
        minutes,
    ) % {"minutes": minutes}


@contextmanager
def limit_attempts(
    request: HttpRequest, name: str, limits: Mapping[str, int], message: Callable[[int], str]
) -> Iterator[None]:
    """Context for one password check, counted as failed unless the block ends without an exception.

    Raises ValidationError with `message(minutes)` when the limit is reached; the response then becomes a 429
    (`middleware.set_retry_after`).
    """
    if seconds := reserve(name, limits):
        request.retry_after = seconds  # type: ignore[attr-defined]
        minutes = -(-seconds // 60)
        raise ValidationError(message(minutes), code="wait")
    yield
    release(name, limits)


@contextmanager
def limit_sign_ins(form: AuthenticationForm) -> Iterator[None]:
    """`limit_attempts()` for a sign-in form; a form without a name or a password does not count."""
    name, password = form.cleaned_data.get("username"), form.cleaned_data.get("password")
    if not (name and password and form.request):
        yield
        return
    with limit_attempts(form.request, name, limits_for(form.request, name), sign_in_limit_message):
        yield


class LimitedSignIn(AuthenticationForm):
    """Django's sign-in form with rate limits."""

    def clean(self) -> dict[str, Any]:
        with limit_sign_ins(self):
            return super().clean()


class LimitedPasswordChange(PasswordChangeForm):
    """Django's password form with a rate limit on the current password; a wrong one is recorded."""

    def __init__(self, user: User, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.request = request

    def clean_old_password(self) -> str:
        """Counted separately from sign-ins, so that a stolen session cannot lock the account's owner out elsewhere."""
        name = self.user.get_username()
        with limit_attempts(self.request, name, {SESSION_SOURCE: MAX_PASSWORD_CHECKS}, password_limit_message):
            try:
                return super().clean_old_password()
            except ValidationError:
                record(PasswordRefused(actor=name, account=name))
                raise
