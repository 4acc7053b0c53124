"""Recalls: the list, a recall's own page, and what is done there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.db.models import Count, Exists, Max, Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from moderation import reviewed
from moderation.accounts import unsent
from moderation.accounts.request_types import AuthenticatedRequest
from moderation.applications.models import Application
from moderation.archive.names import titled
from moderation.outbox.models import Attempt, Circuit
from recall import decisions, services, verify
from recall.decisions import to_cancel, to_send_again, to_settle
from recall.filters import RecallFilter
from recall.forms import DecisionForm
from recall.models import (
    LOOKED_FOR,
    MAX_TIMESTAMPS,
    NEEDS_A_PERSON,
    Recall,
    RecallBatch,
    RecallItem,
    Sweep,
)
from recall.progress import Progress, progress_of, with_progress

LIST_SIZE = 50
CALLS_SHOWN = 50
ITEMS_SHOWN = 50
PACE_OVER = timedelta(seconds=10)
# Fields that decide whether the page polls. It is read again, at most so often, if they change meanwhile.
POLLING_FIELDS = ("state", "stop_reason", "finished_at", "check_at")
MAX_READINGS = 3
FILTERS = {"state": "state__in", "actor": "actor__in", "app": "application__in", "conversation": "conversation"}


class SeeOther(HttpResponseRedirect):
    """Redirect with status 303 after a successful POST."""

    status_code = 303


@login_required
@permission_required("recall.view_recall", raise_exception=True)
@require_safe
def recall_list(request: AuthenticatedRequest) -> HttpResponse:
    """Recalls, the newest first, narrowed by state, outcome, actor and application; paged by key."""
    form = RecallFilter(request.GET)
    form.is_valid()
    recalls = list(_older_than(request.GET.get("after", ""), _narrowed(form))[: LIST_SIZE + 1])
    page = with_progress(recalls[:LIST_SIZE])
    older = ""
    if len(recalls) > LIST_SIZE:
        query = request.GET.copy()
        query["after"] = f"{page[-1].created_at.isoformat()}_{page[-1].pk}"
        older = query.urlencode()
    context = {
        "form": form,
        "page": page,
        "older": older,
        "only_of": titled([of])[0] if (of := form.cleaned_data.get("conversation")) else None,
        "many_apps": Application.objects.all()[:2].count() > 1,
    }
    return render(request, "recall/pages/recalls.html", context)


def _narrowed(form: RecallFilter) -> QuerySet[Recall]:
    """The recalls that pass the filters, newest first."""
    recalls = Recall.objects.select_related("conversation__application", "actor", "reason")
    for field, lookup in FILTERS.items():
        if values := form.cleaned_data.get(field):
            recalls = recalls.filter(**{lookup: values})
    if outcomes := form.cleaned_data.get("outcome"):
        recalls = recalls.filter(Exists(RecallBatch.objects.filter(recall=OuterRef("pk"), state__in=outcomes)))
    return recalls.order_by("-created_at", "-id")


def _older_than(key: str, recalls: QuerySet[Recall]) -> QuerySet[Recall]:
    """The recalls after `key` ("<requested at>_<id>") in the list's order; all of them when it is malformed."""
    if (place := read_key(key)) is None:
        return recalls
    at, uuid = place
    return recalls.filter(Q(created_at__lt=at) | Q(created_at=at, id__lt=uuid), created_at__lte=at)


def read_key(key: str) -> tuple[datetime, UUID] | None:
    """Parse the key of a place in a list, "<requested at>_<id>"; None when it is malformed."""
    text, _underscore, pk = key.partition("_")
    try:
        # A plus sign in a query string arrives as a space.
        at, uuid = parse_datetime(text.replace(" ", "+")), UUID(pk)
        if at is None or timezone.is_naive(at):
            return None
        return at.astimezone(UTC), uuid
    except (ValueError, OverflowError):
        # Not a date, or out of the range of datetime once converted to UTC.
        return None


@login_required
@permission_required("recall.view_recall", raise_exception=True)
@require_safe
def recall_detail(request: AuthenticatedRequest, pk: UUID) -> HttpResponse:
    """A recall's page. With htmx only its live part, and 204 while that has not changed since `?seen=`.

    `?whole=1`: the whole recall on one static page, for printing.
    """
    template = "recall/partials/_recall_status.html" if request.htmx else "recall/pages/recall.html"
    for _reading in range(MAX_READINGS):
        recall = get_object_or_404(_with_check_at(), pk=pk)
        context = _status(request, recall)
        if request.htmx and request.GET.get("seen") == context["seen"]:
            return HttpResponse(status=204)
        context |= _calls(request, recall) | _items(request, recall)
        # If the recall ended between two of these queries, the page would mix old and new, and not poll again.
        now = _with_check_at().filter(pk=pk).values_list(*POLLING_FIELDS).first()
        if now == tuple(getattr(recall, name) for name in POLLING_FIELDS):
            break
    return render(request, template, context)


def _with_check_at() -> QuerySet[Recall, Any]:
    """Recalls with `check_at`, the time of the next history check of one of their calls."""
    checked = RecallBatch.objects.filter(recall=OuterRef("pk"), check_at__isnull=False).order_by("check_at")
    recalls = Recall.objects.select_related("conversation__application", "actor", "reason")
    return recalls.annotate(check_at=Subquery(checked.values("check_at")[:1]))


@login_required
@permission_required("recall.add_recall", raise_exception=True)
@require_POST
def recall_settle(request: AuthenticatedRequest, pk: UUID) -> HttpResponse:
    """Decide on calls with an unknown outcome: send them again, or leave them as they are."""
    recall = get_object_or_404(_with_check_at(), pk=pk)
    form = DecisionForm(request.POST)
    if not form.is_valid():
        context = _status(request, recall) | _calls(request, recall) | _items(request, recall)
        return render(request, "recall/pages/recall.html", context | {"decision_form": form})
    again, note = form.cleaned_data["decision"] == "again", form.cleaned_data["note"]

    def decide() -> str:
        seen = reviewed.read(request.POST.get("shown", ""), request.user, f"settle:{pk}")
        count = decisions.settle_unknown(recall, request.user, send_again=again, note=note, seen=seen)
        text = ngettext(
            "Your decision on %(count)d request was recorded.",
            "Your decision on %(count)d requests was recorded.",
            count,
        )
        return text % {"count": count}

    return run_action(request, recall, decide)


def run_action(request: AuthenticatedRequest, thing: Recall | Sweep, act: Callable[[], str]) -> HttpResponse:
    """Run an action and redirect to the page of its recall or sweep with a message: the result, or the refusal."""
    try:
        messages.success(request, act())
    except (services.NotPossible, reviewed.Changed) as refusal:
        messages.warning(request, str(refusal.message))
    if isinstance(thing, Recall) and "stay" in request.POST:
        return SeeOther(in_conversation(thing))
    return SeeOther(thing.get_absolute_url())


def in_conversation(recall: Recall) -> str:
    """URL of the recall's conversation with a notice about the recall (`recall/views/toast.py`)."""
    return f"{reverse('conversation', args=[recall.conversation_id])}?recall={recall.pk}"


def cancelled(count: int) -> str:
    """Message for the number of cancelled timestamps."""
    text = ngettext(
        "The recall of %(count)d message was cancelled.", "The recall of %(count)d messages was cancelled.", count
    )
    return text % {"count": count}


def sent_again(count: int) -> str:
    """Message for the number of calls that are sent again."""
    text = ngettext("%(count)d request is being sent again.", "%(count)d requests are being sent again.", count)
    return text % {"count": count}


def _status(request: AuthenticatedRequest, recall: Recall) -> dict[str, Any]:
    """Context of the page's live part: the recall's state and the actions that are possible now.

    The recall comes from `_with_check_at()`.
    """
    check_at: datetime | None = recall.check_at  # type: ignore[attr-defined]
    progress = progress_of([recall])[recall.pk]
    attempts = Attempt.objects.filter(call__recall_batch__recall=recall).aggregate(
        started=Count("pk"), ended=Count("ended_at")
    )
    states = Recall.State
    history = history_of(recall.items.all(), recall.batches.all(), check_at) if recall.is_final else {}
    undecided = _undecided(recall)
    can_cancel = recall.state != states.FINISHED and "pending" in progress.batches
    return {
        **history,
        **decisions_shown(request, recall.pk, Recall.objects.filter(pk=recall.pk), can_cancel),
        "settle_shown": reviewed.token(request.user, f"settle:{recall.pk}", to_settle(recall)) if undecided else "",
        "recall": recall,
        "conversation": titled([recall.conversation])[0],
        "progress": progress,
        "seconds_to_go": max(0.0, (recall.not_before - timezone.now()).total_seconds()),
        # A stopped recall's last calls may still be on their way.
        "live": not recall.is_final or "sending" in progress.batches,
        "undecided": undecided,
        "circuit": Circuit.objects.filter(application=recall.application_id).first(),
        "pace": pace_of(Attempt.objects.filter(call__recall_batch__recall=recall), progress)
        if recall.state == states.SENDING
        else None,
        "needs_worker": recall.state in {states.WAITING, states.SENDING},
        "decision_form": DecisionForm(
            initial=unsent.initial_values(request, reverse("recall-settle", args=[recall.pk]))
        ),
        "only": _only(request),
        "is_whole": _is_whole(request),
        "seen": f"{recall.state}-{recall.stop_reason}-{attempts['started']}-{attempts['ended']}-{progress.final_calls}"
        f"-{history.get('verified_of')}-{undecided}-{history.get('check_at')}-{history.get('given_up')}",
    }


def decisions_shown(
    request: AuthenticatedRequest, pk: UUID, recalls: QuerySet[Recall], can_cancel: bool
) -> dict[str, Any]:
    """What of `recalls` (of one page) may be cancelled or sent again, with the token of what the page shows."""
    to_retry = decisions.retry_size(recalls)
    return {
        "can_cancel": can_cancel,
        "retry_size": to_retry,
        "cancel_shown": reviewed.token(request.user, f"cancel:{pk}", to_cancel(recalls)) if can_cancel else "",
        "retry_shown": reviewed.token(request.user, f"retry:{pk}", to_send_again(recalls)) if to_retry else "",
    }


def history_of(
    items: QuerySet[RecallItem], batches: QuerySet[RecallBatch], check_at: datetime | None
) -> dict[str, Any]:
    """What reading history after the calls showed of the messages, and when it is read next.

    `check_at` is read first: then a page that stops polling shows nothing older.
    """
    of_each = items.exclude(verification="").order_by().values_list("verification")
    counted = list(of_each.annotate(Count("pk"), Max("verified_at")))
    # Slugs: a template cannot ask for "still visible".
    verified = {verification.replace(" ", "_"): number for verification, number, _at in counted}
    return {
        "verified": verified,
        "verified_of": sum(verified.values()),
        "verified_at": max((at for _verification, _number, at in counted if at), default=None),
        "check_at": check_at,
        # Looked for, and not found out: history could not be read, so far or in the end.
        "unread": batches.filter(LOOKED_FOR, check_at__isnull=False).exists(),
        "given_up": batches.filter(check_at__isnull=True, checks__gte=verify.MAX_CHECKS).exists(),
    }


def _undecided(recall: Recall) -> int:
    """Number of timestamps that history does not settle and a person has to decide on."""
    if not recall.is_final:
        return 0
    undecided = recall.batches.filter(NEEDS_A_PERSON, LOOKED_FOR)
    return undecided.aggregate(size=Sum("size"))["size"] or 0


def pace_of(attempts: QuerySet[Attempt], progress: Progress) -> dict[str, float] | None:
    """Calls per second over the last PACE_OVER, and the seconds that the remaining calls take; None when unknown."""
    now = timezone.now()
    seen = attempts.filter(ended_at__gte=now - PACE_OVER).aggregate(calls=Count("pk"), first=Min("started_at"))
    if not seen["calls"]:
        return None
    a_second = seen["calls"] / max(0.1, (now - max(seen["first"], now - PACE_OVER)).total_seconds())
    return {"a_second": a_second, "left": (progress.calls - progress.final_calls) / a_second}


def _calls(request: AuthenticatedRequest, recall: Recall) -> dict[str, Any]:
    """One page of the recall's calls, in order, with every attempt; `?call=` is where it begins."""
    batches = recall.batches.select_related("call").prefetch_related("call__attempts").order_by("index")
    if only := _only(request):
        batches = batches.filter(state=only)
    size = MAX_TIMESTAMPS if _is_whole(request) else CALLS_SHOWN
    calls = list(batches.filter(index__gte=_number(request.GET.get("call")))[: size + 1])
    return {"calls": calls[:size], "next_call": calls[size].index if calls[size:] else None}


def _items(request: AuthenticatedRequest, recall: Recall) -> dict[str, Any]:
    """One page of the recall's timestamps, in order, with their evidence; it begins at `?from=` (ms)."""
    # Evidence holds message text, so showing it is recorded.
    recall.conversation.record_reading_on("recall")
    items = recall.items.select_related("batch").prefetch_related("evidence").order_by("timestamp")
    if only := _only(request):
        items = items.filter(batch__state=only)
    size = MAX_TIMESTAMPS if _is_whole(request) else ITEMS_SHOWN
    rows = list(items.filter(timestamp__gte=_number(request.GET.get("from")))[: size + 1])
    return {"items": rows[:size], "next_item": rows[size].timestamp if rows[size:] else None}


def _is_whole(request: AuthenticatedRequest) -> bool:
    """Whether the page shows the whole recall, for printing."""
    return "whole" in request.GET and not request.htmx


def _only(request: AuthenticatedRequest) -> str:
    """The batch state to filter by; empty for all."""
    wanted = request.GET.get("only", "")
    return wanted if wanted in RecallBatch.State.values else ""


def _number(text: str | None) -> int:
    """A key from the query string; 0, the beginning, when it is malformed."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else 0


@login_required
@permission_required("recall.add_recall", raise_exception=True)
@require_POST
def recall_cancel(request: AuthenticatedRequest, pk: UUID) -> HttpResponse:
    """Cancel what has not left."""
    recall = get_object_or_404(Recall, pk=pk)

    def cancel() -> str:
        seen = reviewed.read(request.POST.get("shown", ""), request.user, f"cancel:{pk}")
        return cancelled(decisions.cancel_recall(recall, request.user, seen))

    return run_action(request, recall, cancel)


@login_required
@permission_required("recall.add_recall", raise_exception=True)
@require_POST
def recall_retry(request: AuthenticatedRequest, pk: UUID) -> HttpResponse:
    """Send again what was refused, never left or is still visible."""
    recall = get_object_or_404(Recall, pk=pk)

    def retry() -> str:
        seen = reviewed.read(request.POST.get("shown", ""), request.user, f"retry:{pk}")
        return sent_again(decisions.retry_recall(recall, request.user, seen))

    return run_action(request, recall, retry)
