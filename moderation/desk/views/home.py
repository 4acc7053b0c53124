"""The home page: what needs attention."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.decorators import login_required, permission_required
from django.db.models import Exists, OuterRef, Q
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from moderation.accounts.request_types import AuthenticatedRequest
from moderation.applications.models import Application
from moderation.applications.problems import problem_message
from moderation.archive.models import Conversation
from moderation.audit import alarms
from moderation.audit.request_context import forwarding_is_ignored
from moderation.desk.conversation_rows import rows_of
from moderation.desk.views.conversation_rows import HOME_ROWS, newest_conversations, rows_address
from recall import attention
from recall.models import Recall, Sweep
from recall.progress import progress_of_sweeps, with_progress

SHOWN = 12


@login_required
@permission_required("recall.view_recall", raise_exception=True)
@require_safe
def home(request: AuthenticatedRequest) -> HttpResponse:
    """Show recalls that need attention or are in progress, recent conversations, and problems with GoEasy."""
    recalls = Recall.objects.select_related("conversation__application", "actor", "reason").order_by("-created_at")
    is_under_way, needs_attention = attention.in_progress(), attention.needs_action()
    # The recalls of a sweep are shown as one line, by the sweep.
    single = recalls.filter(sweep=None)
    needs = single.filter(needs_attention)[: SHOWN + 1]
    applications = list(Application.objects.select_related("circuit"))
    context = {
        "under_way": with_progress(single.filter(is_under_way)[:SHOWN]),
        "sweeps_under_way": sweeps_with(is_under_way),
        "sweeps_in_need": sweeps_with(needs_attention),
        "needs": with_progress(needs)[:SHOWN],
        "more_needs": len(needs) > SHOWN,
        "rows": rows_of(request.user, newest_conversations()[:HOME_ROWS]),
        "rows_address": rows_address("home"),
        "many_apps": len(applications) > 1,
        "applications": [(application, health(application)) for application in applications],
        "audit_alarms": alarms.live() if request.user.has_perm("audit.view_auditentry") else [],
        "forwarding_is_ignored": forwarding_is_ignored(),
    }
    return render(request, "desk/pages/home.html", context)


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
