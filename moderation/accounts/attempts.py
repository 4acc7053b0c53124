"""Limits on guessing passwords: each attempt is counted before the password is checked, and given back if it is right.

A device that signed in to an account before (`accounts/devices.py`) has a count of its own, so that nobody else's
attempts keep its owner out. Of other devices the attempts are counted per account, and per account and address. An
address alone never delays an account to which nobody failed from it: a whole office may be behind it. Once many
accounts failed from one address, as when one password is tried on every name, each of them has fewer attempts there.
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

from moderation.accounts.devices import device_of
from moderation.accounts.events import PasswordRefused
from moderation.accounts.models import AttemptCount, User
from moderation.audit.request_context import address
from moderation.audit.services import record

# A count begins with the first attempt, and begins anew after SPAN.
SPAN = timedelta(minutes=10)
# For one account, in SPAN: from a device that signed in to it before; from one address; from anywhere; and the current
# password, asked of somebody who is signed in.
MAX_FROM_A_DEVICE, MAX_FROM_AN_ADDRESS, MAX_FROM_ANYWHERE, MAX_SIGNED_IN = 10, 10, 100, 10
# Where attempts on so many accounts failed, each of them has so many from there.
MAX_ACCOUNTS_OF_AN_ADDRESS, MAX_FROM_A_SPRAYING_ADDRESS = 30, 2
# After so many failures from an address, those to sign in as nobody there is are no longer recorded.
MAX_UNKNOWN_NAMES_RECORDED = 30
# Rows of past counts that one attempt deletes: more than it adds.
PRUNED = 100

ANYWHERE, SIGNED_IN = "", "signed in"


def network(text: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 address, which belongs to one customer."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return text[:64]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))


def limits_of(request: HttpRequest, name: str) -> dict[str, int]:
    """The sources under which an attempt to sign in as `name` is counted, and how many each may have in SPAN."""
    if device := device_of(request, name):
        return {f"device {device}": MAX_FROM_A_DEVICE}
    source = f"address {network(address(request))}"
    accounts, failures = lately_from(source)
    # Of names that no account has, anybody could fill the log (`signing_in.failed`).
    request.fills_the_log = failures >= MAX_UNKNOWN_NAMES_RECORDED  # type: ignore[attr-defined]
    is_spraying = accounts >= MAX_ACCOUNTS_OF_AN_ADDRESS
    return {ANYWHERE: MAX_FROM_ANYWHERE, source: MAX_FROM_A_SPRAYING_ADDRESS if is_spraying else MAX_FROM_AN_ADDRESS}


def lately_from(source: str) -> tuple[int, int]:
    """On how many accounts attempts from this address failed in SPAN, and how many did; both counted up to a limit."""
    counts = AttemptCount.objects.filter(source=source, since__gt=timezone.now() - SPAN, number__gt=0)
    numbers = list(
        counts.values_list("number", flat=True)[: max(MAX_ACCOUNTS_OF_AN_ADDRESS, MAX_UNKNOWN_NAMES_RECORDED)]
    )
    return len(numbers), sum(numbers)


def key_of(name: str) -> str:
    """What a name is counted by. No name is kept: people type passwords there."""
    return salted_hmac("moderation.accounts.attempts", name, algorithm="sha256").hexdigest()


def reserve(name: str, limits: Mapping[str, int]) -> int:
    """Count one attempt on `name` under each of these sources; or count nothing and return the seconds to wait.

    The rows stay locked until all are counted, so that of attempts at one time no more are let through than `limits`
    says.
    """
    now = timezone.now()
    prune(now)
    rows = [AttemptCount(account=key_of(name), source=source, since=now) for source in sorted(limits)]
    with transaction.atomic():
        # A write without effect: it locks the rows that are there already, on both engines.
        AttemptCount.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["account", "source"], update_fields=["source"]
        )
        counts = list(AttemptCount.objects.filter(account=rows[0].account, source__in=limits))
        waits = [
            count.since + SPAN - now
            for count in counts
            if count.since > now - SPAN and count.number >= limits[count.source]
        ]
        if waits:
            return int(max(waits).total_seconds()) + 1
        for count in counts:
            is_over = count.since <= now - SPAN
            count.since, count.number = (now, 1) if is_over else (count.since, count.number + 1)
        AttemptCount.objects.bulk_update(counts, ["since", "number"])
    return 0


def release(name: str, limits: Mapping[str, int]) -> None:
    """Give back what `reserve()` counted: the password was right."""
    counts = AttemptCount.objects.filter(account=key_of(name), source__in=limits, number__gt=0)
    counts.update(number=F("number") - 1)


def prune(now: datetime) -> None:
    """Delete some counts that are over: more than one attempt adds, so that the table never outgrows 2 SPAN."""
    with transaction.atomic():
        over = AttemptCount.objects.select_for_update(skip_locked=True).filter(since__lt=now - 2 * SPAN)
        AttemptCount.objects.filter(pk__in=list(over.values_list("pk", flat=True)[:PRUNED])).delete()


def too_many_sign_ins(minutes: int) -> str:
    """What the sign-in page says for so many minutes."""
    return ngettext(
        "Too many attempts to sign in failed. Try again in %(minutes)d minute.",
        "Too many attempts to sign in failed. Try again in %(minutes)d minutes.",
        minutes,
    ) % {"minutes": minutes}


def too_many_passwords(minutes: int) -> str:
    """What is said for so many minutes where the current password is asked."""
    return ngettext(
        "Too many wrong passwords. Try again in %(minutes)d minute.",
        "Too many wrong passwords. Try again in %(minutes)d minutes.",
        minutes,
    ) % {"minutes": minutes}


@contextmanager
def counted(
    request: HttpRequest, name: str, limits: Mapping[str, int], sentence: Callable[[int], str]
) -> Iterator[None]:
    """Check a password inside: counted as failed unless the block ends without an exception.

    When too many failed already, it raises ValidationError with the `sentence` for so many minutes, and the page
    becomes a 429 (`middleware.tell_to_wait`).
    """
    if seconds := reserve(name, limits):
        request.retry_after = seconds  # type: ignore[attr-defined]
        minutes = -(-seconds // 60)
        raise ValidationError(sentence(minutes), code="wait")
    yield
    release(name, limits)


@contextmanager
def counted_sign_in(form: AuthenticationForm) -> Iterator[None]:
    """Check the form's name and password inside, `counted()`; what lacks one of them is no attempt."""
    name, password = form.cleaned_data.get("username"), form.cleaned_data.get("password")
    if not (name and password and form.request):
        yield
        return
    with counted(form.request, name, limits_of(form.request, name), too_many_sign_ins):
        yield


class LimitedSignIn(AuthenticationForm):
    """Django's own form, with limits on guessing."""

    def clean(self) -> dict[str, Any]:
        with counted_sign_in(self):
            return super().clean()


class LimitedPasswordChange(PasswordChangeForm):
    """Django's own form, with limits on guessing the current password; a wrong one is recorded."""

    def __init__(self, user: User, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.request = request

    def clean_old_password(self) -> str:
        """Counted separately from sign-ins: somebody with the session cannot lock its owner out elsewhere."""
        name = self.user.get_username()
        with counted(self.request, name, {SIGNED_IN: MAX_SIGNED_IN}, too_many_passwords):
            try:
                return super().clean_old_password()
            except ValidationError:
                record(PasswordRefused(actor=name, account=name))
                raise
