"""Signs of life."""

from datetime import timedelta

from django.db import models
from django.utils import timezone

# A worker gives a sign of life every 5 s.
WORKER_SILENT_AFTER = timedelta(seconds=60)


class Heartbeat(models.Model):
    """A worker's sign of life."""

    worker = models.CharField(primary_key=True, max_length=64)
    at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.worker


def worker_is_alive() -> bool:
    """Whether any worker gave a sign of life lately."""
    return Heartbeat.objects.filter(at__gte=timezone.now() - WORKER_SILENT_AFTER).exists()
