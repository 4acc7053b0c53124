"""Watching the webhooks' feeds, the audit log, and who reads how much: admins are told once of an alarm."""

from __future__ import annotations

import logging
from smtplib import SMTPException

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from moderation.accounts import readers
from moderation.accounts.mail import mail_admins
from moderation.archive import feed
from moderation.archive.models import Application, Feed
from moderation.audit import alarms as audit_alarms
from moderation.audit.models import AuditAlarm

log = logging.getLogger(__name__)


def watch() -> None:
    """Take stock of every feed and of the readers, and tell the admins of alarms that they have not been told of."""
    for application in Application.objects.all():
        feed.take_stock(application)
    for state in feed.alarms():
        # Whoever sets the time tells them; several workers may be about to.
        if Feed.objects.filter(pk=state.pk, alarm_at=state.alarm_at, mailed_at=None).update(mailed_at=timezone.now()):
            try:
                tell_admins(state)
            except (OSError, SMTPException):
                log.exception("no e-mail could be sent about the feed of %s; trying again", state.application.slug)
                Feed.objects.filter(pk=state.pk, alarm_at=state.alarm_at).update(mailed_at=None)
    for alarm in audit_alarms.live().filter(mailed_at=None):
        mine = AuditAlarm.objects.filter(pk=alarm.pk, since=alarm.since)
        if mine.filter(mailed_at=None).update(mailed_at=timezone.now()):
            try:
                mail_audit_alarm(alarm)
            except (OSError, SMTPException):
                log.exception("no e-mail could be sent about the audit log; trying again")
                mine.update(mailed_at=None)
    readers.watch()


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
            str(feed.what_to_do(state.alarm)),
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
