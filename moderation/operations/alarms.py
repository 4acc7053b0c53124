"""Alarms about feeds, the audit log and readers: admins get one e-mail about each."""

from __future__ import annotations

from functools import partial

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from moderation.accounts import readers
from moderation.accounts.mail import mail_admins, mail_once
from moderation.applications.models import Application
from moderation.audit import alarms as audit_alarms
from moderation.audit.models import AuditAlarm
from moderation.ingestion import feed
from moderation.ingestion.models import Feed


def watch() -> None:
    """Check every feed and the readers, and mail the admins about new alarms."""
    for application in Application.objects.all():
        feed.take_stock(application)
    for state in feed.alarms():
        row = Feed.objects.filter(pk=state.pk, alarm_at=state.alarm_at)
        mail_once(row, f"the feed of {state.application.slug}", partial(tell_admins, state))
    for alarm in audit_alarms.live().filter(mailed_at=None):
        rows = AuditAlarm.objects.filter(pk=alarm.pk, since=alarm.since)
        mail_once(rows, "the audit log", partial(mail_audit_alarm, alarm))
    readers.check_readers()


def mail_audit_alarm(alarm: AuditAlarm) -> None:
    """Send every admin with an address an e-mail, in their language, about the audit log. Raises OSError."""

    def write() -> tuple[str, list[str]]:
        text = [str(alarm), alarm.advice, _("This is sent once; the home page shows it until it is over.")]
        return _("The audit log is not being signed."), text

    mail_admins(write)


def tell_admins(state: Feed) -> None:
    """Send every admin with an address an e-mail, in their language, about what is wrong. Raises OSError."""

    def write() -> tuple[str, list[str]]:
        about = {"application": state.application}
        subject = _("GoEasy’s messages do not arrive: %(application)s") % about
        text = [str(feed.Alarm(state.alarm).label)]
        unread = feed.unread_lately(state.application, timezone.now())
        if state.alarm == feed.Alarm.UNREAD and unread:
            subject = _("GoEasy’s deliveries cannot be read: %(application)s") % about
            text.append(_unread(unread))
        elif state.last_at:
            text.append(_("The last delivery came at %(time)s UTC.") % {"time": f"{state.last_at:%Y-%m-%d %H:%M:%S}"})
        text += [
            str(feed.instructions(state.alarm)),
            _("The console’s page “Feed” shows more. This is sent once; the home page shows it until it is over."),
        ]
        return subject, text

    mail_admins(write)


def _unread(unread: feed.Unread) -> str:
    """How many deliveries could not be read, and the newest of them: nothing of its content."""
    number = ngettext(
        "%(number)s delivery of the last day could not be read.",
        "%(number)s deliveries of the last day could not be read.",
        unread.number,
    ) % {"number": unread}
    newest = unread.newest
    about = {"number": newest.pk, "time": f"{newest.received_at:%Y-%m-%d %H:%M:%S}", "why": newest.why}
    return f"{number} " + _("The newest is number %(number)s, received %(time)s UTC: %(why)s") % about
