"""Alarms of the audit log: why a worker cannot sign it. They last as long as a worker keeps raising them."""

from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from moderation.audit.models import AuditAlarm

# A worker tries to sign every 10 s.
LASTS = timedelta(seconds=60)
# The same trouble is mailed again when it was over for so long.
FORGOTTEN_AFTER = timedelta(hours=1)


def raise_alarm(problem: AuditAlarm.Problem) -> None:
    """Raise the alarm, or keep it up."""
    now = timezone.now()
    AuditAlarm.objects.filter(seen_at__lt=now - FORGOTTEN_AFTER).delete()
    AuditAlarm.objects.update_or_create(
        problem=problem, defaults={"seen_at": now}, create_defaults={"seen_at": now, "since": now}
    )


def live() -> QuerySet[AuditAlarm]:
    """The alarms that a worker raised just now."""
    return AuditAlarm.objects.filter(seen_at__gte=timezone.now() - LASTS).order_by("problem")


def state() -> str:
    """ "ok", or the problems, for machines."""
    return "; ".join(live().values_list("problem", flat=True)) or "ok"
