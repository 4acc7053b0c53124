"""The home page: what needs attention."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib.auth.decorators import login_required, permission_required
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from moderation.accounts.models import User
from moderation.accounts.request_types import AuthenticatedRequest
from moderation.applications.models import Application
from moderation.applications.problems import problem_message
from moderation.archive.models import Conversation
from moderation.audit import alarms
from moderation.audit.models import Action, AuditEntry
from moderation.audit.request_context import forwarding_is_ignored
from moderation.desk.conversation_rows import rows_of
from moderation.desk.first_steps import first_steps
from moderation.desk.outcomes import midnight, outcomes
from moderation.desk.views.conversation_rows import HOME_ROWS, newest_conversations, rows_address
from moderation.ingestion import feed
from recall import attention
from recall.models import Recall, Sweep
from recall.progress import progress_of_sweeps, with_progress

SHOWN, MINE_SHOWN, MAX_FEEDS = 12, 6, 5


@login_required
@permission_required("recall.view_recall", raise_exception=True)
@require_safe
def home(request: AuthenticatedRequest) -> HttpResponse:
    """Show what needs attention or is in progress, the outcomes of the week, the feeds, and recent conversations."""
    recalls = Recall.objects.select_related("conversation__application", "actor", "reason").order_by("-created_at")
    is_under_way, needs_attention = attention.in_progress(), attention.needs_action()
    # The recalls of a sweep are shown as one line, by the sweep.
    single = recalls.filter(sweep=None)
    needs = single.filter(needs_attention)[: SHOWN + 1]
    applications = list(Application.objects.select_related("circuit"))
    is_admin = request.user.has_perm("applications.change_application")
    context = {
        "under_way": with_progress(single.filter(is_under_way)[:SHOWN]),
        "sweeps_under_way": sweeps_with(is_under_way),
        "sweeps_in_need": sweeps_with(needs_attention),
        "needs": with_progress(needs)[:SHOWN],
        "more_needs": len(needs) > SHOWN,
        "mine": with_progress(mine_today(request.user)),
        "outcomes": outcomes(),
        "feeds": feed.last_hours(applications[:MAX_FEEDS]) if request.user.has_perm("ingestion.view_feed") else [],
        "first_steps": first_steps(applications) if is_admin else [],
        "system": system(applications) if is_admin else None,
        "rows": rows_of(request.user, newest_conversations()[:HOME_ROWS]),
        "rows_address": rows_address("home"),
        "many_apps": len(applications) > 1,
        "applications": [(application, health(application)) for application in applications],
        "audit_alarms": alarms.live() if request.user.has_perm("audit.view_auditentry") else [],
        "forwarding_is_ignored": forwarding_is_ignored(),
    }
    return render(request, "desk/pages/home.html", context)


def mine_today(user: User) -> QuerySet[Recall]:
    """The newest recalls that `user` requested since midnight in their zone."""
    recalls = Recall.objects.select_related("conversation__application", "actor", "reason")
    today = recalls.filter(actor=user, created_at__gte=midnight(timezone.localdate()))
    return today.order_by("-created_at", "-id")[:MINE_SHOWN]


def system(applications: Sequence[Application]) -> dict[str, Any]:
    """The system's state in one line, beside the worker's (a context processor); two queries."""
    backup = AuditEntry.objects.filter(action=Action.BACKED_UP).order_by("-at", "-id")
    return {
        "unsigned": alarms.live().exists(),
        "paused": [each for each in applications if each.is_configured and is_paused(each)],
        "backup_at": backup.values_list("at", flat=True).first(),
    }


def is_paused(application: Application) -> bool:
    """Whether calls of the application are held back."""
    circuit = getattr(application, "circuit", None)
    return bool(circuit and circuit.is_open)


def sweeps_with(condition: Q) -> list[Sweep]:
    """The newest sweeps with a recall that meets `condition`, each with `progress`; two queries."""
    matching = Exists(Recall.objects.filter(condition, sweep=OuterRef("pk")))
    sweeps = list(Sweep.objects.filter(matching).select_related("actor").order_by("-created_at", "-id")[:SHOWN])
    progress = progress_of_sweeps(sweeps)
    for sweep in sweeps:
        sweep.progress = progress[sweep.pk]  # type: ignore[attr-defined]
    return sweeps


def health(application: Application) -> tuple[str, Conversation | None]:
    """The problem with reaching GoEasy as a message, empty if none is known, and the conversation where it occurred."""
    if problem := application.key_problem:
        return str(problem_message(problem)), None
    an_hour_ago = timezone.now() - timedelta(hours=1)
    latest = (
        Conversation.objects.filter(application=application, history_read_at__gte=an_hour_ago)
        .order_by("-history_read_at")
        .first()
    )
    if latest and latest.history_problem:
        return str(problem_message(latest.history_problem)), latest
    return "", None
