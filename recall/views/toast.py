"""The notice at the edge of a conversation after a recall was confirmed there: how it goes, and cancelling it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from moderation import reviewed
from moderation.accounts.request_types import AuthenticatedRequest
from moderation.archive.models import Conversation
from recall.decisions import to_cancel
from recall.models import Recall
from recall.progress import progress_of


@login_required
@permission_required("recall.view_recall", raise_exception=True)
@require_safe
def recall_toast(request: AuthenticatedRequest, pk: UUID) -> HttpResponse:
    """The notice as it is now; 204 while it shows that already (`?seen=`)."""
    context = toast_of(request, get_object_or_404(Recall, pk=pk))
    if request.GET.get("seen") == context["toast_seen"]:
        return HttpResponse(status=204)
    return render(request, "recall/partials/_toast.html", context)


def toast_for(request: AuthenticatedRequest, conversation: Conversation) -> dict[str, Any]:
    """Context of the notice on a conversation's page: of the recall in `?recall=`, if this person asked for it."""
    try:
        pk = UUID(request.GET.get("recall", ""))
    except ValueError:
        return {}
    recall = Recall.objects.filter(pk=pk, conversation=conversation, actor=request.user).first()
    return toast_of(request, recall) if recall else {}


def toast_of(request: AuthenticatedRequest, recall: Recall) -> dict[str, Any]:
    """Context of `recall/partials/_toast.html`."""
    progress = progress_of([recall])[recall.pk]
    can_cancel = (
        recall.state != Recall.State.FINISHED
        and "pending" in progress.batches
        and request.user.has_perm("recall.add_recall")
    )
    shown = to_cancel(Recall.objects.filter(pk=recall.pk)) if can_cancel else {}
    return {
        "toast": recall,
        # The page scrolls there.
        "toast_first": recall.items.order_by("timestamp").values_list("timestamp", flat=True).first(),
        "recall": recall,
        "progress": progress,
        "seconds_to_go": max(0.0, (recall.not_before - timezone.now()).total_seconds()),
        "can_cancel": can_cancel,
        "cancel_shown": reviewed.token(request.user, f"cancel:{recall.pk}", shown) if can_cancel else "",
        "toast_live": not recall.is_final or "sending" in progress.batches,
        "toast_seen": f"{recall.state}-{recall.stop_reason}-{progress.final_calls}-{can_cancel}",
    }
