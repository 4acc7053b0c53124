"""Watching the webhooks' feeds, and who reads how much: admins are told once of an alarm."""

from __future__ import annotations

import logging
from smtplib import SMTPException

from django.utils import timezone
from django.utils.translation import gettext as _

from moderation.accounts import readers
from moderation.accounts.mail import mail_admins
from moderation.archive import feed
from moderation.archive.models import Application, Feed

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
    readers.watch()


def tell_admins(state: Feed) -> None:
    """Send every admin with an address an e-mail, in their language, about what is wrong. Raises OSError."""

    def write() -> tuple[str, list[str]]:
        subject = _("GoEasy’s messages do not arrive: %(application)s") % {"application": state.application}
        text = [str(feed.Alarm(state.alarm).label)]
        if state.last_at:
            text.append(_("The last delivery came at %(time)s UTC.") % {"time": f"{state.last_at:%Y-%m-%d %H:%M:%S}"})
        text += [
            str(feed.WHAT_TO_DO),
            _("The console’s page “Feed” shows more. This is sent once; the home page shows it until it is over."),
        ]
        return subject, text

    mail_admins(write)
