"""Recalls: the list, asking for one, and a recall's own page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from moderation import reviewed
from moderation.accounts import unsent
from moderation.accounts.models import User
from moderation.archive.backfill import look_up
from moderation.archive.models import Application, Conversation, Kind
from moderation.archive.names import sender_names, titled, writer_of
from moderation.archive.problems import problem_sentence
from moderation.archive.rows import in_parts
from moderation.requests import SignedIn
from recall import reviews, services, verify
from recall.decisions import to_call_off, to_send_again, to_settle
from recall.filters import RecallFilter
from recall.forms import DecisionForm, RecallForm, SweepForm
from recall.models import (
    LOOKED_FOR,
    MAX_TIMESTAMPS,
    NEEDS_A_PERSON,
    Circuit,
    Recall,
    RecallAttempt,
    RecallBatch,
    RecallItem,
    Sweep,
    named_by,
)
from recall.progress import Progress, progress_of
from recall.views.health import worker_is_alive
from recall.views.home import with_progress

LIST_SIZE = 50
CALLS_SHOWN = 50
ITEMS_SHOWN = 50
PREVIEW_SHOWN = 200
BODIES_SHOWN = 25
SHARED_SHOWN = 40
EARLIER_SHOWN = 5
PACE_OVER = timedelta(seconds=10)
# What tells whether a recall's page goes on looking; a page is read so often until it did not change meanwhile.
STAGE = ("state", "stop_reason", "finished_at", "check_at")
MAX_READINGS = 3
FILTERS = {"state": "state__in", "actor": "actor__in", "app": "application__in", "conversation": "conversation"}


class SeeOther(HttpResponseRedirect):
    """303: what was posted is done; read the result there."""

    status_code = 303


# The list


@login_required
@permission_required("recall.view_recall", raise_exception=True)
@require_safe
def recall_list(request: SignedIn) -> HttpResponse:
    """Recalls, the newest first, narrowed by state, outcome, actor and application; paged by key."""
    form = RecallFilter(request.GET)
    form.is_valid()
    found = list(_older_than(request.GET.get("after", ""), _narrowed(form))[: LIST_SIZE + 1])
    page = with_progress(found[:LIST_SIZE])
    older = ""
    if len(found) > LIST_SIZE:
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
    return render(request, "recall/recalls.html", context)


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
    """Those after `key` ("<requested at>_<id>") in the list's order; all of them when it is no key."""
    if (found := read_key(key)) is None:
        return recalls
    at, uuid = found
    return recalls.filter(Q(created_at__lt=at) | Q(created_at=at, id__lt=uuid), created_at__lte=at)


def read_key(key: str) -> tuple[datetime, UUID] | None:
    """A recall's place in a list, "<requested at>_<id>"; None when `key` is none."""
    text, _underscore, pk = key.partition("_")
    try:
        # A plus sign in an address is a space once it has been read.
        at, uuid = parse_datetime(text.replace(" ", "+")), UUID(pk)
        if at is None or timezone.is_naive(at):
            return None
        return at.astimezone(UTC), uuid
    except (ValueError, OverflowError):
        # No date, or one that is before the year 1 or after 9999 where databases keep it: in UTC.
        return None


# Asking for one


@login_required
@permission_required("recall.add_recall", raise_exception=True)
@require_http_methods(["GET", "HEAD", "POST"])
def recall_new(request: SignedIn) -> HttpResponse:
    """The form; then what it would do; then, confirmed, the recall. The query string may fill the form."""
    if request.method != "POST" or "edit" in request.POST:
        initial = request.POST.dict() if request.method == "POST" else _initial(request)
        return render(request, "recall/recall_new.html", {"form": RecallForm(initial=initial, actor=request.user)})
    form = RecallForm(request.POST, actor=request.user)
    if not form.is_valid():
        return render(request, "recall/recall_new.html", {"form": form})
    if "confirm" not in request.POST or not form.clean_count():
        return _show_review(request, form)
    try:
        recall = services.request_recall(
            conversation=form.conversation(),
            actor=request.user,
            grace_seconds=settings.RECALL_GRACE_SECONDS,
            seen=reviewed.read(form.cleaned_data["shown"], request.user, review_of(form)),
            **{name: form.cleaned_data[name] for name in ("reason", "note", "timestamps", "recaller", "submission")},
        )
    except services.NotPossible as refusal:
        messages.warning(request, str(refusal.sentence))
        # As a form of its own it may be confirmed.
        form.cleaned_data["submission"] = uuid4()
        return _show_review(request, form)
    except reviewed.Changed as changed:
        return _show_review(request, form, changed)
    return SeeOther(recall.get_absolute_url())


def review_of(form: RecallForm | SweepForm) -> str:
    """What the review of the valid `form` is about, for its token."""
    return f"{type(form).__name__}:{form.cleaned_data['submission']}"


def _initial(request: SignedIn) -> dict[str, Any]:
    """The form's beginning: the query string, and the recaller that clients are shown for this moderator."""
    return {
        "kind": Kind.PRIVATE,
        **recaller_fields(request.user, request.GET.get("app", "")),
        **request.GET.dict(),
        "timestamps": "\n".join(request.GET.getlist("timestamps")),
        **unsent.initial(request, reverse("recall-new")),
    }


def recaller_fields(user: User, app: str) -> dict[str, str]:
    """What clients are shown of `user` in the application (a slug; empty: the default one), as a form has it."""
    application = Application.objects.filter(slug=app or "default").first()
    recaller = services.recaller_for(user, application) if application else None
    if recaller is None:
        return {}
    return {
        "recaller_id": recaller.id,
        "recaller_data": json.dumps(recaller.data, ensure_ascii=False) if recaller.data else "",
    }


def _show_review(request: SignedIn, form: RecallForm, changed: reviewed.Changed | None = None) -> HttpResponse:
    """What the valid `form` would take back, and the exact calls; and what has `changed` since it was shown."""
    conversation = form.conversation()
    timestamps, recaller = form.cleaned_data["timestamps"], form.cleaned_data["recaller"]
    conversation.record_reading_on("recall: review")
    # Nobody should confirm what they cannot see: what the archive lacks is asked for first.
    reading = look_up(conversation, timestamps)
    preview = services.preview(conversation=conversation, timestamps=timestamps, recaller=recaller)
    aspects = reviews.of_recall(
        conversation=conversation,
        known=preview.known,
        earlier=preview.earlier,
        **{name: form.cleaned_data[name] for name in ("timestamps", "reason", "note", "recaller", "is_overridden")},
    )
    context = {
        "form": form,
        "shown": reviewed.token(request.user, review_of(form), aspects),
        "changed": changed,
        "conversation": titled([conversation])[0],
        "preview": preview,
        "earlier": _earlier(preview.earlier),
        "timestamps": timestamps,
        "not_shown": len(preview.known[PREVIEW_SHOWN:]),
        "bodies": preview.bodies[:BODIES_SHOWN],
        "more_bodies": len(preview.bodies[BODIES_SHOWN:]),
        "recaller": recaller.as_field() if recaller else None,
        "problem": problem_sentence(reading.problem) if reading.problem else "",
        "gone": _verified_gone(conversation, timestamps),
        "grace": int(settings.RECALL_GRACE_SECONDS),
    }
    return render(request, "recall/recall_review.html", context | _senders(conversation, preview))


def _earlier(items: list[RecallItem]) -> list[dict[str, Any]]:
    """The newest recalls that name messages under review: each with how many, and how their calls stand."""
    by_recall: dict[UUID, list[RecallItem]] = {}
    for item in items:
        by_recall.setdefault(item.recall_id, []).append(item)
    newest = sorted(by_recall.values(), key=lambda some: some[0].recall.created_at, reverse=True)
    return [
        {
            "recall": some[0].recall,
            "count": len(some),
            "states": list(dict.fromkeys(str(item.batch.get_state_display()) for item in some)),
            "verified": list(dict.fromkeys(str(item.get_verification_display()) for item in some if item.verification)),
        }
        for some in newest[:EARLIER_SHOWN]
    ]


def _verified_gone(conversation: Conversation, timestamps: Sequence[int]) -> int:
    """How many of `timestamps` (ms) history has shown to be taken back by recalls of ours."""
    gone = 0
    for some in in_parts(timestamps):
        named = named_by(RecallItem.objects.filter(recall__conversation=conversation, timestamp__in=some))
        gone += sum(each.is_gone for each in named.values())
    return gone


def _senders(conversation: Conversation, preview: services.Preview) -> dict[str, Any]:
    """The first messages with their senders' names, and how many of the messages are whose."""
    counts = Counter(message.sender_id for message in preview.known)
    names = sender_names(conversation.application, counts)
    shared = [message for messages in preview.shared.values() for message in messages]
    return {
        "shared": [
            (message, writer_of(message, names.get(message.sender_id, ""))) for message in shared[:SHARED_SHOWN]
        ],
        "more_shared": len(shared[SHARED_SHOWN:]),
        "known": [
            (message, writer_of(message, names.get(message.sender_id, "")), message.timestamp in preview.shared)
            for message in preview.known[:PREVIEW_SHOWN]
        ],
        "senders": [(sender, names.get(sender, sender), count) for sender, count in counts.most_common(8)],
        "more_senders": len(counts) > 8,
    }


# A recall's own page


@login_required
@permission_required("recall.view_recall", raise_exception=True)
@require_safe
def recall_detail(request: SignedIn, pk: UUID) -> HttpResponse:
    """A recall, live: with htmx the part that changes, and 204 while it has not changed since `?seen=`.

    `?whole=1`: all of it on one page that stays as it is, to be printed.
    """
    template = "recall/_recall_status.html" if request.htmx else "recall/recall.html"
    for _reading in range(MAX_READINGS):
        recall = get_object_or_404(_for_its_page(), pk=pk)
        context = _status(request, recall)
        if request.htmx and request.GET.get("seen") == context["seen"]:
            return HttpResponse(status=204)
        context |= _calls(request, recall) | _items(request, recall)
        # Between two of these queries it may have come to its end: then the page would show before and after, and
        # would not look again.
        now = _for_its_page().filter(pk=pk).values_list(*STAGE).first()
        if now == tuple(getattr(recall, name) for name in STAGE):
            break
    return render(request, template, context)


def _for_its_page() -> QuerySet[Recall, Any]:
    """Recalls with `check_at`, when history is read next for one of its calls."""
    checked = RecallBatch.objects.filter(recall=OuterRef("pk"), check_at__isnull=False).order_by("check_at")
    recalls = Recall.objects.select_related("conversation__application", "actor", "reason")
    return recalls.annotate(check_at=Subquery(checked.values("check_at")[:1]))


@login_required
@permission_required("recall.add_recall", raise_exception=True)
@require_POST
def recall_settle(request: SignedIn, pk: UUID) -> HttpResponse:
    """A person's decision on calls of which nobody knows what became of them: send them again, or leave them."""
    recall = get_object_or_404(_for_its_page(), pk=pk)
    form = DecisionForm(request.POST)
    if not form.is_valid():
        context = _status(request, recall) | _calls(request, recall) | _items(request, recall)
        return render(request, "recall/recall.html", context | {"decision_form": form})
    again, note = form.cleaned_data["decision"] == "again", form.cleaned_data["note"]

    def decide() -> str:
        seen = reviewed.read(request.POST.get("shown", ""), request.user, f"settle:{pk}")
        count = services.settle_unknown(recall, request.user, send_again=again, note=note, seen=seen)
        return ngettext("You decided on %(count)d call.", "You decided on %(count)d calls.", count) % {"count": count}

    return do(request, recall, decide)


def do(request: SignedIn, thing: Recall | Sweep, act: Callable[[], str]) -> HttpResponse:
    """What a button asks for: on the thing's page is said what came of it, or why it is not possible."""
    try:
        messages.success(request, act())
    except (services.NotPossible, reviewed.Changed) as refusal:
        messages.warning(request, str(refusal.sentence))
    return SeeOther(thing.get_absolute_url())


def called_off(count: int) -> str:
    """That so many timestamps were."""
    text = ngettext("%(count)d timestamp was called off.", "%(count)d timestamps were called off.", count)
    return text % {"count": count}


def sent_again(count: int) -> str:
    """That so many calls are being."""
    text = ngettext("%(count)d call is being sent again.", "%(count)d calls are being sent again.", count)
    return text % {"count": count}


def _status(request: SignedIn, recall: Recall) -> dict[str, Any]:
    """Where the recall is, and what may be done about it now. It is one of `_for_its_page()`."""
    check_at: datetime | None = recall.check_at  # type: ignore[attr-defined]
    progress = progress_of([recall])[recall.pk]
    attempts = RecallAttempt.objects.filter(batch__recall=recall).aggregate(
        started=Count("pk"), ended=Count("ended_at")
    )
    states = Recall.State
    history = history_of(recall.items.all(), recall.batches.all(), check_at) if recall.is_final else {}
    undecided = _undecided(recall)
    can_cancel = recall.state != states.FINISHED and "pending" in progress.batches
    can_retry = services.can_retry(recall)
    return {
        **history,
        **decisions_shown(request, recall.pk, Recall.objects.filter(pk=recall.pk), can_cancel, can_retry),
        "settle_shown": reviewed.token(request.user, f"settle:{recall.pk}", to_settle(recall)) if undecided else "",
        "recall": recall,
        "conversation": titled([recall.conversation])[0],
        "progress": progress,
        "seconds_to_go": max(0.0, (recall.not_before - timezone.now()).total_seconds()),
        # A stopped recall's last calls may still be on their way.
        "live": not recall.is_final or "sending" in progress.batches,
        "undecided": undecided,
        "circuit": Circuit.objects.filter(application=recall.application_id).first(),
        "pace": pace_of(RecallAttempt.objects.filter(batch__recall=recall), progress)
        if recall.state == states.SENDING
        else None,
        "worker_is_alive": recall.state not in {states.WAITING, states.SENDING} or worker_is_alive(),
        "decision_form": DecisionForm(initial=unsent.initial(request, reverse("recall-settle", args=[recall.pk]))),
        "only": _only(request),
        "is_whole": _is_whole(request),
        "seen": f"{recall.state}-{recall.stop_reason}-{attempts['started']}-{attempts['ended']}-{progress.final_calls}"
        f"-{history.get('verified_of')}-{undecided}-{history.get('check_at')}-{history.get('given_up')}",
    }


def decisions_shown(
    request: SignedIn, pk: UUID, recalls: QuerySet[Recall], can_cancel: bool, can_retry: bool
) -> dict[str, Any]:
    """Whether `recalls`, those of a recall's or a sweep's page, may be called off or sent again, and what it shows."""
    return {
        "can_cancel": can_cancel,
        "can_retry": can_retry,
        "cancel_shown": reviewed.token(request.user, f"cancel:{pk}", to_call_off(recalls)) if can_cancel else "",
        "retry_shown": reviewed.token(request.user, f"retry:{pk}", to_send_again(recalls)) if can_retry else "",
    }


def history_of(
    items: QuerySet[RecallItem], batches: QuerySet[RecallBatch], check_at: datetime | None
) -> dict[str, Any]:
    """What reading history after the calls showed of the messages, and when it is read next.

    `check_at` is read before everything else: a page that does not look again then shows nothing older.
    """
    counted = items.exclude(verification="").order_by().values_list("verification").annotate(Count("pk"))
    # Slugs: a template cannot ask for "still visible".
    verified = {verification.replace(" ", "_"): number for verification, number in counted}
    return {
        "verified": verified,
        "verified_of": sum(verified.values()),
        "check_at": check_at,
        # Looked for, and not found out: history could not be read, so far or in the end.
        "unread": batches.filter(LOOKED_FOR, check_at__isnull=False).exists(),
        "given_up": batches.filter(check_at__isnull=True, checks__gte=verify.MOST_CHECKS).exists(),
    }


def _undecided(recall: Recall) -> int:
    """How many timestamps a person has to decide on: history has been read for them, and does not settle it."""
    if not recall.is_final:
        return 0
    undecided = recall.batches.filter(NEEDS_A_PERSON, LOOKED_FOR)
    return undecided.aggregate(size=Sum("size"))["size"] or 0


def pace_of(attempts: QuerySet[RecallAttempt], progress: Progress) -> dict[str, float] | None:
    """Calls a second over the last PACE_OVER, and for how many seconds there are calls left; None when unknown."""
    now = timezone.now()
    seen = attempts.filter(ended_at__gte=now - PACE_OVER).aggregate(calls=Count("pk"), first=Min("started_at"))
    if not seen["calls"]:
        return None
    a_second = seen["calls"] / max(0.1, (now - max(seen["first"], now - PACE_OVER)).total_seconds())
    return {"a_second": a_second, "left": (progress.calls - progress.final_calls) / a_second}


def _calls(request: SignedIn, recall: Recall) -> dict[str, Any]:
    """One page of the recall's calls, in order, with every attempt; `?call=` is where it begins."""
    batches = recall.batches.prefetch_related("attempts").order_by("index")
    if only := _only(request):
        batches = batches.filter(state=only)
    size = MAX_TIMESTAMPS if _is_whole(request) else CALLS_SHOWN
    found = list(batches.filter(index__gte=_number(request.GET.get("call")))[: size + 1])
    return {"calls": found[:size], "next_call": found[size].index if found[size:] else None}


def _items(request: SignedIn, recall: Recall) -> dict[str, Any]:
    """One page of the recall's timestamps, in order, with their evidence; it begins at `?from=` (ms)."""
    # Evidence is what was written.
    recall.conversation.record_reading_on("recall")
    items = recall.items.select_related("batch").prefetch_related("evidence").order_by("timestamp")
    if only := _only(request):
        items = items.filter(batch__state=only)
    size = MAX_TIMESTAMPS if _is_whole(request) else ITEMS_SHOWN
    found = list(items.filter(timestamp__gte=_number(request.GET.get("from")))[: size + 1])
    return {"items": found[:size], "next_item": found[size].timestamp if found[size:] else None}


def _is_whole(request: SignedIn) -> bool:
    """Whether the page is to hold all of the recall, for a record that can be printed."""
    return "whole" in request.GET and not request.htmx


def _only(request: SignedIn) -> str:
    """The one state of batches that the reader wants to see; empty for all."""
    wanted = request.GET.get("only", "")
    return wanted if wanted in RecallBatch.State.values else ""


def _number(text: str | None) -> int:
    """A key from an address; 0, the beginning, when it is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else 0


@login_required
@permission_required("recall.add_recall", raise_exception=True)
@require_POST
def recall_cancel(request: SignedIn, pk: UUID) -> HttpResponse:
    """Call off what has not left."""
    recall = get_object_or_404(Recall, pk=pk)

    def cancel() -> str:
        seen = reviewed.read(request.POST.get("shown", ""), request.user, f"cancel:{pk}")
        return called_off(services.cancel_recall(recall, request.user, seen))

    return do(request, recall, cancel)


@login_required
@permission_required("recall.add_recall", raise_exception=True)
@require_POST
def recall_retry(request: SignedIn, pk: UUID) -> HttpResponse:
    """Send again what was refused, never left or is still visible."""
    recall = get_object_or_404(Recall, pk=pk)

    def retry() -> str:
        seen = reviewed.read(request.POST.get("shown", ""), request.user, f"retry:{pk}")
        return sent_again(services.retry_recall(recall, request.user, seen))

    return do(request, recall, retry)
