"""Sweeps: asking for one, and a sweep's own page."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.db.models import Count, Min, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from moderation import reviewed
from moderation.accounts import unsent
from moderation.accounts.request_types import AuthenticatedRequest
from moderation.archive.events import Searched
from moderation.archive.models import Message
from moderation.archive.names import Writer, sender_names, titled, writer_of
from moderation.audit.services import record
from moderation.outbox.models import Attempt, Circuit
from recall import reviews, sweeps
from recall.decisions import RETRIED_FROM
from recall.forms import SweepForm
from recall.models import LOOKED_FOR, NEEDS_A_PERSON, Recall, RecallBatch, RecallItem, Sweep
from recall.progress import progress_of_sweeps, with_progress
from recall.services import NotPossible, grace_of
from recall.timestamps import to_ms
from recall.views.recalls import (
    SeeOther,
    cancelled,
    decisions_shown,
    history_of,
    pace_of,
    read_key,
    run_action,
    sent_again,
)
from recall.views.review import recaller_fields, review_of

PARTS_SHOWN = 100
OTHERS_SHOWN = 20
RECALLS_SHOWN = 50
UNDATED_COUNTED = 1_000
STATES = Recall.State
# Spans of time up to now that the form offers, by the name that its buttons post.
SPANS = {
    "hour": (timedelta(hours=1), _("Last hour")),
    "day": (timedelta(days=1), _("Last 24 hours")),
    "week": (timedelta(days=7), _("Last 7 days")),
}


@login_required
@permission_required("recall.add_recall", raise_exception=True)
@require_http_methods(["GET", "HEAD", "POST"])
def sweep_new(request: AuthenticatedRequest) -> HttpResponse:
    """The form, the review by conversation, and, confirmed, the sweep. The query string may fill the form."""
    spans = [(name, text) for name, (_span, text) in SPANS.items()]
    if request.method != "POST" or "edit" in request.POST:
        initial = request.POST.dict() if request.method == "POST" else _initial(request)
        initial |= _span_up_to_now(request.POST.get("edit", ""))
        form = SweepForm(initial=initial, actor=request.user)
        return render(request, "recall/pages/sweep_new.html", {"form": form, "spans": spans})
    form = SweepForm(request.POST, actor=request.user)
    if not form.is_valid():
        return render(request, "recall/pages/sweep_new.html", {"form": form, "spans": spans})
    criteria = {
        "application": form.cleaned_data["app"],
        "sender_id": form.cleaned_data["sender"],
        "since": form.cleaned_data["since"],
        "until": form.cleaned_data["until"],
    }
    if "confirm" not in request.POST:
        search = {"app": criteria["application"].slug, "sender": criteria["sender_id"]}
        search |= {name: criteria[name] for name in ("since", "until")}
        record(Searched(actor=request.user.get_username(), page="sweep", asked=search))
    planned = sweeps.plan_sweep(**criteria)
    problem = sweeps.problem_of(planned)
    changed: reviewed.Changed | None = None
    # When a form is submitted twice, the first sweep has taken everything: nothing is left to count.
    again = Sweep.objects.filter(submission=form.cleaned_data["submission"]).exists()
    seen = reviewed.read(form.cleaned_data["shown"], request.user, review_of(form))
    decision = {"actor": request.user, **{name: form.cleaned_data[name] for name in ("reason", "note", "recaller")}}
    if "confirm" in request.POST and (again or not problem):
        try:
            if not again:
                # Check the review before the typed number: the number must belong to what the person saw.
                sweeps.check_review(seen, planned, **criteria, **decision)
            if again or form.is_typed(planned.timestamps):
                sweep = sweeps.request_sweep(
                    **criteria,
                    **decision,
                    submission=form.cleaned_data["submission"],
                    grace_seconds=grace_of(request.user),
                    seen=seen,
                )
                return SeeOther(sweep.get_absolute_url())
        except reviewed.Changed as difference:
            changed, planned = difference, sweeps.plan_sweep(**criteria)
            problem = sweeps.problem_of(planned)
        except NotPossible as refusal:
            problem, planned = refusal, sweeps.plan_sweep(**criteria)
            # With a new submission id the form can be confirmed.
            form.cleaned_data["submission"] = uuid4()
    if not planned.parts:
        form.add_error(None, str(problem.message if problem else ""))
        return render(request, "recall/pages/sweep_new.html", {"form": form})
    if problem:
        messages.warning(request, str(problem.message))
    return _show_review(request, form, planned, changed)


def _span_up_to_now(name: str) -> dict[str, str]:
    """Initial times (ms) of the span of this name; empty for another name."""
    if name not in SPANS:
        return {}
    now = timezone.now()
    return {"since": str(to_ms(now - SPANS[name][0])), "until": str(to_ms(now))}


def _initial(request: AuthenticatedRequest) -> dict[str, Any]:
    """Initial values: the query string, the last day, and the recaller that clients see for this moderator."""
    now = timezone.localtime()
    return {
        "since": now - timedelta(days=1),
        "until": now,
        **recaller_fields(request.user, request.GET.get("app", "")),
        **request.GET.dict(),
        **unsent.initial_values(request, reverse("sweep-new")),
    }


def _show_review(
    request: AuthenticatedRequest, form: SweepForm, planned: sweeps.SweepPlan, changed: reviewed.Changed | None
) -> HttpResponse:
    """Render the review of a valid `form` by conversation, with what has `changed` since it was shown."""
    shown = planned.parts[:PARTS_SHOWN]
    conversations = sweeps.conversations_of(shown)
    titled(conversations.values())
    known = Message.objects.in_bulk([pk for part in shown for pk in (*part.samples, *part.others[:OTHERS_SHOWN])])
    application, recaller = form.cleaned_data["app"], form.cleaned_data["recaller"]
    names = sender_names(application, {form.cleaned_data["sender"], *(each.sender_id for each in known.values())})
    for message in known.values():
        message.writer = writer_of(message, names.get(message.sender_id, ""))  # type: ignore[attr-defined]
    aspects = reviews.of_sweep(
        application=application,
        sender_id=form.cleaned_data["sender"],
        planned=planned,
        **{name: form.cleaned_data[name] for name in ("since", "until", "reason", "note", "recaller", "is_overridden")},
    )
    context = {
        "form": form,
        "shown": reviewed.token(request.user, review_of(form), aspects),
        "changed": changed,
        "planned": planned,
        "parts": [
            {
                "conversation": conversations[part.conversation_id],
                "count": len(part.timestamps),
                "samples": [known[pk] for pk in part.samples if pk in known],
                "others": [known[pk] for pk in part.others[:OTHERS_SHOWN] if pk in known],
                "more_others": len(part.others[OTHERS_SHOWN:]),
            }
            for part in shown
        ],
        "conversations_not_shown": len(planned.parts[PARTS_SHOWN:]),
        "messages_not_shown": sum(len(part.timestamps) for part in planned.parts[PARTS_SHOWN:]),
        "sender_name": names.get(form.cleaned_data["sender"], ""),
        "undated": sweeps.without_a_time(
            application=application,
            sender_id=form.cleaned_data["sender"],
            since=form.cleaned_data["since"],
            until=form.cleaned_data["until"],
            most=UNDATED_COUNTED,
        ),
        "recaller": recaller.as_field() if recaller else None,
        "grace": int(grace_of(request.user)),
    }
    return render(request, "recall/pages/sweep_review.html", context)


# A sweep's own page


@login_required
@permission_required("recall.view_recall", raise_exception=True)
@require_safe
def sweep_detail(request: AuthenticatedRequest, pk: UUID) -> HttpResponse:
    """A sweep's page. With htmx only its live part, and 204 while that has not changed since `?seen=`."""
    sweep = get_object_or_404(Sweep.objects.select_related("application", "actor"), pk=pk)
    context = _status(request, sweep)
    if request.htmx and request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    template = "recall/partials/_sweep_status.html" if request.htmx else "recall/pages/sweep.html"
    return render(request, template, context)


def _status(request: AuthenticatedRequest, sweep: Sweep) -> dict[str, Any]:
    """Context of the page's live part: the sweep's progress, possible actions, and one page of its recalls."""
    # These decide whether the page polls, and are read first: what is read after them is as new, or newer.
    states = Counter(dict(sweep.recalls.order_by().values_list("state").annotate(Count("pk"))))
    batches = RecallBatch.objects.filter(recall__sweep=sweep)
    check_at = batches.aggregate(at=Min("check_at"))["at"]
    progress = progress_of_sweeps([sweep])[sweep.pk]
    name_now = sender_names(sweep.application, [sweep.sender_id]).get(sweep.sender_id, "")
    first = sweep.recalls.select_related("reason").order_by("created_at", "pk")[0]
    waiting = states[STATES.WAITING] == states.total()
    live = bool(states[STATES.WAITING] + states[STATES.SENDING]) or "sending" in progress.batches
    undecided = sweeps.with_batches(sweep, NEEDS_A_PERSON & LOOKED_FOR)
    needs = Q(state=STATES.STOPPED) | Q(pk__in=undecided.filter(state__in=RETRIED_FROM).values("pk"))
    only_needs = "needs" in request.GET
    recalls = sweep.recalls.select_related("conversation__application", "actor", "reason").order_by("created_at", "pk")
    rows = list(_after(request.GET.get("after", ""), recalls.filter(needs) if only_needs else recalls))
    history = {} if live else history_of(RecallItem.objects.filter(recall__sweep=sweep), batches, check_at)
    return {
        **history,
        "sweep": sweep,
        "first": first,
        "writer": Writer(sweep.sender_name, name_now if name_now != sweep.sender_name else ""),
        "progress": progress,
        "conversations": states.total(),
        "finished": states[STATES.FINISHED] + states[STATES.CANCELLED],
        "waiting": waiting,
        "live": live,
        "seconds_to_go": max(0.0, (first.not_before - timezone.now()).total_seconds()),
        "pace": pace_of(Attempt.objects.filter(call__recall_batch__recall__sweep=sweep), progress) if live else None,
        "circuit": Circuit.objects.filter(application=sweep.application_id).first(),
        "needs_worker": live,
        **decisions_shown(request, sweep.pk, sweep.recalls.all(), "pending" in progress.batches),
        "needs": sweep.recalls.filter(needs).count(),
        "only_needs": only_needs,
        "page": with_progress(rows[:RECALLS_SHOWN]),
        "next": f"{rows[RECALLS_SHOWN - 1].created_at.isoformat()}_{rows[RECALLS_SHOWN - 1].pk}"
        if rows[RECALLS_SHOWN:]
        else "",
        "seen": f"{sorted(states.items())}{sorted(progress.sizes.items())}-{progress.unknown}-{progress.visible}"
        f"-{history.get('verified_of')}-{history.get('check_at')}",
    }


def _after(key: str, recalls: QuerySet[Recall]) -> QuerySet[Recall]:
    """The recalls after `key` ("<requested at>_<id>"), oldest first: one more than a page holds."""
    if place := read_key(key):
        at, pk = place
        recalls = recalls.filter(Q(created_at__gt=at) | Q(created_at=at, pk__gt=pk), created_at__gte=at)
    return recalls[: RECALLS_SHOWN + 1]


@login_required
@permission_required("recall.add_recall", raise_exception=True)
@require_POST
def sweep_cancel(request: AuthenticatedRequest, pk: UUID) -> HttpResponse:
    """Cancel what has not left of all the sweep's recalls."""
    sweep = get_object_or_404(Sweep, pk=pk)

    def cancel() -> str:
        seen = reviewed.read(request.POST.get("shown", ""), request.user, f"cancel:{pk}")
        return cancelled(sweeps.cancel_sweep(sweep, request.user, seen))

    return run_action(request, sweep, cancel)


@login_required
@permission_required("recall.add_recall", raise_exception=True)
@require_POST
def sweep_retry(request: AuthenticatedRequest, pk: UUID) -> HttpResponse:
    """Send again what was refused, never left or is still visible, of all the sweep's recalls."""
    sweep = get_object_or_404(Sweep, pk=pk)

    def retry() -> str:
        seen = reviewed.read(request.POST.get("shown", ""), request.user, f"retry:{pk}")
        return sent_again(sweeps.retry_sweep(sweep, request.user, seen))

    return run_action(request, sweep, retry)
