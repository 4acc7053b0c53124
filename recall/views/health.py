"""What a load balancer and a supervisor ask."""

from datetime import timedelta

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from moderation.archive import feed
from recall.models import Heartbeat

# A worker gives a sign of life every 5 s.
WORKER_SILENT_AFTER = timedelta(seconds=60)


def worker_is_alive() -> bool:
    """Whether any worker gave a sign of life lately."""
    return Heartbeat.objects.filter(at__gte=timezone.now() - WORKER_SILENT_AFTER).exists()


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process lives: 200, without asking anything else."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when database, migrations and a worker are there, and no feed has an alarm; else 503, with the reasons."""
    try:
        executor = MigrationExecutor(connection)
        unapplied = bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        checks = {"database": "ok", "migrations": "unapplied" if unapplied else "ok"}
        checks["worker"] = "ok" if not unapplied and worker_is_alive() else "no sign of life"
        checks["feed"] = "not known" if unapplied else feed.state_of_all()
    except DatabaseError:
        checks = {"database": "no answer"}
    ready = set(checks.values()) == {"ok"}
    return JsonResponse({"status": "ok" if ready else "not ready", **checks}, status=200 if ready else 503)
