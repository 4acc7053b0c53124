"""Alarms about readers who open unusually many conversations: in the audit log, on home and by e-mail."""

from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Count
from django.utils import timezone
from django.utils.translation import gettext as _

from moderation.accounts.events import ReaderAlarmRaised
from moderation.accounts.mail import mail_admins, mail_once
from moderation.accounts.models import ReaderAlarm
from moderation.audit.models import Action, AuditEntry
from moderation.audit.request_context import WORKER
from moderation.audit.services import record

HOUR = timedelta(hours=1)
# How long home shows an alarm.
DISPLAY_PERIOD = timedelta(hours=24)
MAX_SHOWN = 5
CONVERSATION = ("app", "kind", "user_a", "user_b", "group_id")


def check_readers() -> None:
    """Raise an alarm for each reader who opened more than READER_ALARM_PER_HOUR in the last hour; e-mail the admins.

    The alarm is repeated every hour for as long as it lasts.
    """
    limit: int = settings.READER_ALARM_PER_HOUR
    now = timezone.now()
    if limit:
        for reader, number in busy_readers(now - HOUR, limit):
            raise_alarm(reader, number, limit)
    for alarm in ReaderAlarm.objects.filter(mailed_at=None, at__gte=now - DISPLAY_PERIOD):
        mail_once(ReaderAlarm.objects.filter(pk=alarm.pk, at=alarm.at), "a reader", partial(mail_alarm, alarm))


def busy_readers(since: object, limit: int) -> list[tuple[str, int]]:
    """Readers who opened more than `limit` distinct conversations and webhook deliveries, with the number."""
    entries = AuditEntry.objects.filter(
        action__in=[Action.CONVERSATION_OPENED, Action.DELIVERY_READ], at__gte=since
    ).order_by()
    # Opening one again adds an entry, too: distinct ones are counted only for readers with enough entries.
    candidates = entries.values_list("actor").annotate(number=Count("pk")).filter(number__gt=limit)
    readers = []
    for reader, _number in candidates:
        of_reader = entries.filter(actor=reader)
        conversations = set(of_reader.filter(action=Action.CONVERSATION_OPENED).values_list(*CONVERSATION))
        # A delivery has at most one entry an hour.
        number = len(conversations) + of_reader.filter(action=Action.DELIVERY_READ).count()
        if number > limit:
            readers.append((reader, number))
    return readers


def raise_alarm(reader: str, number: int, limit: int) -> None:
    """Record the alarm, unless this reader has one from the last hour."""
    now = timezone.now()
    with transaction.atomic():
        values = {"at": now, "number": number, "mailed_at": None}
        _alarm, is_new = ReaderAlarm.objects.get_or_create(reader=reader, defaults=values)
        if is_new or ReaderAlarm.objects.filter(reader=reader, at__lte=now - HOUR).update(**values):
            record(ReaderAlarmRaised(actor=WORKER, reader=reader, number=number, limit=limit))


def mail_alarm(alarm: ReaderAlarm) -> None:
    """E-mail the admins about `alarm`. Raises OSError."""

    def compose() -> tuple[str, list[str]]:
        subject = _("%(reader)s opened unusually many conversations") % {"reader": alarm.reader}
        text = _("%(number)d conversations and webhook deliveries in the hour before %(time)s UTC.")
        return subject, [
            text % {"number": alarm.number, "time": f"{alarm.at:%Y-%m-%d %H:%M}"},
            _("The audit log lists them. If this is normal for your team, raise READER_ALARM_PER_HOUR."),
        ]

    mail_admins(compose)


def recent_alarms() -> list[ReaderAlarm]:
    """Alarms to show on home, the latest first."""
    return list(ReaderAlarm.objects.filter(at__gte=timezone.now() - DISPLAY_PERIOD).order_by("-at")[:MAX_SHOWN])
