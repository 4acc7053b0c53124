"""What a load balancer and a supervisor ask."""

from collections.abc import Iterable

from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from moderation import __version__
from moderation.audit import alarms
from moderation.audit.request_context import forwarding_is_ignored
from moderation.ingestion import feed
from moderation.operations.models import worker_is_alive
from moderation.operations.readiness import unapplied_migrations
from moderation.outbox.models import Circuit


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process lives: 200, without asking anything else; and which version it is."""
    return JsonResponse({"status": "ok", "version": __version__})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when database, migrations and a worker are there, and no feed and no audit log has an alarm; else 503.

    The JSON has the reasons. `goeasy` tells which applications' calls are held back. It turns nothing to 503: without
    GoEasy people still read. Nor do `warnings`, which are there when something of the configuration does not fit what
    arrives.
    """
    try:
        unapplied = bool(unapplied_migrations())
        checks = {"database": "ok", "migrations": "unapplied" if unapplied else "ok"}
        checks["worker"] = "ok" if not unapplied and worker_is_alive() else "no sign of life"
        checks["feed"] = "not known" if unapplied else feed.state_of_all()
        checks["audit"] = "not known" if unapplied else alarms.state()
        held_back = {} if unapplied else dict(held_back_applications())
    except DatabaseError:
        checks, held_back = {"database": "no answer"}, {}
    ready = set(checks.values()) == {"ok"}
    answer: dict[str, object] = {"status": "ok" if ready else "not ready", **checks, "goeasy": held_back or "ok"}
    if forwarding_is_ignored():
        answer["warnings"] = ["X-Forwarded-For arrives and FORWARDED_HOPS is 0"]
    return JsonResponse(answer, status=200 if ready else 503)


def held_back_applications() -> Iterable[tuple[str, str]]:
    """The applications whose calls are held back, by slug, and why (`Circuit.Reason`)."""
    return Circuit.objects.filter(opened_at__isnull=False).values_list("application__slug", "reason")
