"""Audit events of accounts and of signing in."""

from dataclasses import dataclass
from typing import Annotated

from django.utils.translation import gettext_lazy as _

from moderation.audit.events import Detail, Event, RowChanged
from moderation.audit.models import Action


@dataclass(frozen=True, kw_only=True)
class SignedIn(Event):
    """Somebody signed in."""

    action = Action.SIGNED_IN


@dataclass(frozen=True, kw_only=True)
class SignedOut(Event):
    """Somebody signed out."""

    action = Action.SIGNED_OUT


@dataclass(frozen=True, kw_only=True)
class SignInFailed(Event):
    """A sign-in failed; an account of null does not exist, and the name that was typed is not kept."""

    action = Action.SIGN_IN_FAILED

    account: Annotated[str | None, Detail(_("Account"), is_searched=True)]
    why: Annotated[str, Detail(_("Why"), {"credentials": _("wrong name or password")})]


@dataclass(frozen=True, kw_only=True)
class PasswordRefused(Event):
    """Somebody who changes a password did not know the current one."""

    action = Action.PASSWORD_REFUSED

    account: Annotated[str, Detail(_("Account"), is_searched=True)]


@dataclass(frozen=True, kw_only=True)
class AccountChanged(RowChanged):
    """An account was added, changed or deleted."""

    action = Action.ACCOUNT_CHANGED
    labels = {"password": _("password")}


@dataclass(frozen=True, kw_only=True)
class PseudonymChanged(RowChanged):
    """A pseudonym was added, changed or deleted."""

    action = Action.PSEUDONYM_CHANGED


@dataclass(frozen=True, kw_only=True)
class ReaderAlarmRaised(Event):
    """Somebody opened more conversations and webhook deliveries within an hour than READER_ALARM_PER_HOUR."""

    action = Action.READER_ALARM

    reader: Annotated[str, Detail(_("Reader"), is_searched=True)]
    number: Annotated[int, Detail(_("Opened"))]
    limit: Annotated[int, Detail(_("Limit"))]
