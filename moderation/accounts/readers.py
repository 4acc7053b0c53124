"""Readers who open far more conversations than is usual: an alarm in the log, on the home page, and by e-mail."""

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
SHOWN_FOR = timedelta(hours=24)
MAX_SHOWN = 5
CONVERSATION = ("app", "kind", "user_a", "user_b", "group_id")


def watch() -> None:
    """Raise an alarm for each reader who opened more than READER_ALARM_PER_HOUR in the last hour, and mail the admins.

    Again after an hour, if it goes on.
    """
    limit: int = settings.READER_ALARM_PER_HOUR
    now = timezone.now()
    if limit:
        for reader, number in opened_since(now - HOUR, limit):
            raise_alarm(reader, number, limit)
    for alarm in ReaderAlarm.objects.filter(mailed_at=None, at__gte=now - SHOWN_FOR):
        mail_once(ReaderAlarm.objects.filter(pk=alarm.pk, at=alarm.at), "a reader", partial(mail_alarm, alarm))


def opened_since(since: object, limit: int) -> list[tuple[str, int]]:
    """Who opened more than `limit` different conversations and webhook deliveries, and how many."""
    entries = AuditEntry.objects.filter(
        action__in=[Action.CONVERSATION_OPENED, Action.DELIVERY_READ], at__gte=since
    ).order_by()
    # Opening one again is an entry, too: for those with enough entries, count the different ones.
    busy = entries.values_list("actor").annotate(number=Count("pk")).filter(number__gt=limit)
    found = []
    for reader, _number in busy:
        of_reader = entries.filter(actor=reader)
        conversations = set(of_reader.filter(action=Action.CONVERSATION_OPENED).values_list(*CONVERSATION))
        # Of a delivery there is one entry in an hour.
        number = len(conversations) + of_reader.filter(action=Action.DELIVERY_READ).count()
        if number > limit:
            found.append((reader, number))
    return found


def raise_alarm(reader: str, number: int, limit: int) -> None:
    """Record the alarm, unless there is one of this reader from the last hour."""
    now = timezone.now()
    with transaction.atomic():
        values = {"at": now, "number": number, "mailed_at": None}
        _alarm, is_new = ReaderAlarm.objects.get_or_create(reader=reader, defaults=values)
        if is_new or ReaderAlarm.objects.filter(reader=reader, at__lte=now - HOUR).update(**values):
            record(ReaderAlarmRaised(actor=WORKER, reader=reader, number=number, limit=limit))


def mail_alarm(alarm: ReaderAlarm) -> None:
    """Send the admins an e-mail about `alarm`. Raises OSError."""

    def write() -> tuple[str, list[str]]:
        subject = _("%(reader)s opened unusually many conversations") % {"reader": alarm.reader}
        text = _("%(number)d conversations and webhook deliveries in the hour before %(time)s UTC.")
        return subject, [
            text % {"number": alarm.number, "time": f"{alarm.at:%Y-%m-%d %H:%M}"},
            _("The audit log shows which. If this is usual here, raise READER_ALARM_PER_HOUR."),
        ]

    mail_admins(write)


def alarms_of_late() -> list[ReaderAlarm]:
    """Alarms that home shows, the latest first."""
    return list(ReaderAlarm.objects.filter(at__gte=timezone.now() - SHOWN_FOR).order_by("-at")[:MAX_SHOWN])
