"""Watching the webhooks' feeds: what came is counted, and admins are told once of an alarm."""

from __future__ import annotations

import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import send_mail
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from moderation.accounts.models import User
from moderation.accounts.roles import Role
from moderation.archive import feed
from moderation.archive.models import Application, Feed

log = logging.getLogger(__name__)


def watch() -> None:
    """Take stock of every feed, and tell the admins of alarms that they have not been told of."""
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


def tell_admins(state: Feed) -> None:
    """Send every admin with an address an e-mail, in their language, about what is wrong. Raises OSError."""
    for admin in User.objects.filter(role=Role.ADMIN, is_active=True).exclude(email=""):
        with translation.override(admin.language or settings.LANGUAGE_CODE):
            about = {"application": state.application}
            subject = _("GoEasy’s messages do not arrive: %(application)s") % about
            text = [str(feed.Alarm(state.alarm).label)]
            unread = feed.unread_lately(state.application, timezone.now())
            if state.alarm == feed.Alarm.UNREAD and unread:
                subject = _("GoEasy’s deliveries cannot be read: %(application)s") % about
                text.append(_unread(unread))
            elif state.last_at:
                text.append(
                    _("The last delivery came at %(time)s UTC.") % {"time": f"{state.last_at:%Y-%m-%d %H:%M:%S}"}
                )
            text += [
                str(feed.what_to_do(state.alarm)),
                _("The console’s page “Feed” shows more. This is sent once; the home page shows it until it is over."),
            ]
            send_mail(subject, "\n\n".join(text), None, [admin.email])


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
