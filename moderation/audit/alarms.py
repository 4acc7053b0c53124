"""Alarms of the audit log: why a worker cannot sign it. An alarm is live as long as a worker keeps raising it."""

from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from moderation.audit.models import AuditAlarm

# A worker tries to sign every 10 s.
LIFETIME = timedelta(seconds=60)
# The same problem is mailed again after having been gone for this long.
MAIL_AGAIN_AFTER = timedelta(hours=1)


def raise_alarm(problem: AuditAlarm.Problem) -> None:
    """Raise an alarm, or renew it."""
    now = timezone.now()
    AuditAlarm.objects.filter(seen_at__lt=now - MAIL_AGAIN_AFTER).delete()
    AuditAlarm.objects.update_or_create(
        problem=problem, defaults={"seen_at": now}, create_defaults={"seen_at": now, "since": now}
    )


def live() -> QuerySet[AuditAlarm]:
    """Alarms that a worker has raised within LIFETIME."""
    return AuditAlarm.objects.filter(seen_at__gte=timezone.now() - LIFETIME).order_by("problem")


def state() -> str:
    """ "ok", or the codes of the live alarms, for machines."""
    return "; ".join(live().values_list("problem", flat=True)) or "ok"
