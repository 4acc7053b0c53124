"""How often somebody may fail to sign in: counted in the audit log itself, by its index of actions and times."""

from datetime import timedelta
from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import ngettext

from moderation.audit.models import Action, AuditEntry
from moderation.audit.requests import address

SPAN = timedelta(minutes=10)
# In SPAN: of one account from one address; from one address, behind which a whole office may be; and of one account
# from anywhere: many, or anybody could keep its owner out.
MOST_OF_BOTH, MOST_OF_AN_ADDRESS, MOST_OF_AN_ACCOUNT = 10, 30, 100
# Failures that are looked at, the newest.
MOST = 1000


def seconds_to_wait(account: str, from_address: str) -> int:
    """Until `account` may be tried again from this address; 0: now."""
    now = timezone.now()
    recent = AuditEntry.objects.filter(action=Action.SIGN_IN_FAILED, at__gt=now - SPAN).order_by("-at", "-pk")
    newest = recent.values_list("at", "detail")[:MOST]
    by = [(at, detail.get("account"), detail.get("from", {}).get("address")) for at, detail in newest]
    of_account = [at for at, name, _from in by if account and name == account]
    of_address = [at for at, _name, came_from in by if came_from == from_address]
    of_both = [at for at, name, came_from in by if account and name == account and came_from == from_address]
    rules = [(of_both, MOST_OF_BOTH), (of_address, MOST_OF_AN_ADDRESS), (of_account, MOST_OF_AN_ACCOUNT)]
    waits = [times[most - 1] + SPAN - now for times, most in rules if len(times) >= most]
    return max((int(wait.total_seconds()) + 1 for wait in waits), default=0)


def must_wait(request: HttpRequest | None, account: str) -> None:
    """Raise ValidationError after too many failures; asked before the password is, so that this is not one more."""
    seconds = seconds_to_wait(account, address(request)) if request else 0
    if not request or not seconds:
        return
    # `middleware.tell_to_wait` makes a 429 of it.
    request.retry_after = seconds  # type: ignore[attr-defined]
    minutes = -(-seconds // 60)
    raise ValidationError(
        ngettext(
            "Too many attempts to sign in failed. Try again in %(minutes)d minute.",
            "Too many attempts to sign in failed. Try again in %(minutes)d minutes.",
            minutes,
        )
        % {"minutes": minutes},
        code="wait",
    )


class SignIn(AuthenticationForm):
    """Django's own, with patience."""

    request: HttpRequest

    def clean(self) -> dict[str, Any]:
        must_wait(self.request, self.cleaned_data.get("username", ""))
        return super().clean()
