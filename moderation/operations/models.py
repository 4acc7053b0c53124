"""Signs of life."""

from django.db import models


class Heartbeat(models.Model):
    """A worker's sign of life."""

    worker = models.CharField(primary_key=True, max_length=64)
    at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.worker
