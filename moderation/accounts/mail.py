"""E-mail to the admins."""

import logging
from collections.abc import Callable
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.db.models import QuerySet
from django.utils import timezone, translation

from moderation.accounts.models import User
from moderation.accounts.roles import Role

log = logging.getLogger(__name__)


def mail_admins(compose: Callable[[], tuple[str, list[str]]]) -> None:
    """E-mail every active admin with an address; `compose` returns subject and paragraphs in their language.

    Raises OSError.
    """
    for admin in User.objects.filter(role=Role.ADMIN, is_active=True).exclude(email=""):
        with translation.override(admin.language or settings.LANGUAGE_CODE):
            subject, paragraphs = compose()
            send_mail(subject, "\n\n".join(paragraphs), None, [admin.email])


def mail_once(alarm: QuerySet[Any], about: str, send: Callable[[], None]) -> None:
    """Call `send` unless it was already called for `alarm`, a queryset of one row with `mailed_at`.

    `mailed_at` is claimed before sending, because several workers may try at once, and cleared if sending fails, so
    that the next round tries again. `about` is the subject of the log line.
    """
    if not alarm.filter(mailed_at=None).update(mailed_at=timezone.now()):
        return
    try:
        send()
    except (OSError, SMTPException):
        log.exception("no e-mail could be sent about %s; trying again", about)
        alarm.update(mailed_at=None)
