"""Audit events of accounts and of signing in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from moderation.audit.events import Detail, Event, RowChanged
from moderation.audit.models import Action

if TYPE_CHECKING:
    from moderation.audit.sentences import Facts


@dataclass(frozen=True, kw_only=True)
class SignedIn(Event):
    """Somebody signed in."""

    action = Action.SIGNED_IN

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        if facts.address:
            return gettext("%(actor)s signed in from %(address)s") % {"actor": facts.actor, "address": facts.address}
        return gettext("%(actor)s signed in") % {"actor": facts.actor}


@dataclass(frozen=True, kw_only=True)
class SignedOut(Event):
    """Somebody signed out."""

    action = Action.SIGNED_OUT

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        return gettext("%(actor)s signed out") % {"actor": facts.actor}


@dataclass(frozen=True, kw_only=True)
class SignInFailed(Event):
    """A sign-in failed; an account of null does not exist, and the name that was typed is not kept."""

    action = Action.SIGN_IN_FAILED

    account: Annotated[str | None, Detail(_("Account"), is_searched=True)]
    why: Annotated[str, Detail(_("Why"), {"credentials": _("wrong name or password")})]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        if facts.value("account") is None:
            return gettext("Somebody tried to sign in with a user name that does not exist")
        return gettext("Somebody failed to sign in as “%(account)s”") % {"account": facts.text("account")}


@dataclass(frozen=True, kw_only=True)
class PasswordRefused(Event):
    """Somebody who changes a password did not know the current one."""

    action = Action.PASSWORD_REFUSED

    account: Annotated[str, Detail(_("Account"), is_searched=True)]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"actor": facts.actor, "account": facts.text("account")}
        return gettext("%(actor)s gave a wrong current password for “%(account)s”") % said


@dataclass(frozen=True, kw_only=True)
class AccountChanged(RowChanged):
    """An account was added, changed or deleted."""

    action = Action.ACCOUNT_CHANGED
    sentences = {
        "added": _("%(actor)s added the account “%(name)s”"),
        "changed": _("%(actor)s changed the account “%(name)s”"),
        "deleted": _("%(actor)s deleted the account “%(name)s”"),
    }
    labels = {"password": _("password")}


@dataclass(frozen=True, kw_only=True)
class PseudonymChanged(RowChanged):
    """A pseudonym was added, changed or deleted."""

    action = Action.PSEUDONYM_CHANGED
    sentences = {
        "added": _("%(actor)s added the pseudonym “%(name)s”"),
        "changed": _("%(actor)s changed the pseudonym “%(name)s”"),
        "deleted": _("%(actor)s deleted the pseudonym “%(name)s”"),
    }


@dataclass(frozen=True, kw_only=True)
class ReaderAlarmRaised(Event):
    """Somebody opened more conversations and webhook deliveries within an hour than READER_ALARM_PER_HOUR."""

    action = Action.READER_ALARM

    reader: Annotated[str, Detail(_("Reader"), is_searched=True)]
    number: Annotated[int, Detail(_("Opened"))]
    limit: Annotated[int, Detail(_("Limit"))]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"reader": facts.text("reader"), "number": facts.text("number"), "limit": facts.text("limit")}
        return (
            gettext("%(reader)s opened %(number)s conversations and deliveries within an hour (limit: %(limit)s)")
            % said
        )
