"""The page for erasing a sender's text on request."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from moderation import reviewed
from moderation.accounts import unsent
from moderation.accounts.request_types import AuthenticatedRequest
from moderation.applications.models import Application
from moderation.archive.models import Sender
from moderation.privacy import erasure
from moderation.privacy.forms import ErasureForm
from recall.services import NotPossible


@login_required
@permission_required("archive.erase_text", raise_exception=True)
@require_http_methods(["GET", "HEAD", "POST"])
def erase_text(request: AuthenticatedRequest, slug: str) -> HttpResponse:
    """Show what would be erased of a user's text (`?id=`, any text); erase it on confirmation."""
    application = get_object_or_404(Application, slug=slug)
    if not (sender_id := request.GET.get("id", "").replace("\0", "")[:255]):
        raise Http404
    erasure_request = erasure.ErasureRequest(application, sender_id)
    decision = f"erase:{application.pk}:{sender_id}"
    form = ErasureForm(request.POST or None, sender_id=sender_id, initial=unsent.initial_values(request, request.path))
    if form.is_valid():
        try:
            erasure.erase(
                erasure_request,
                actor=request.user.get_username(),
                reason=form.cleaned_data["reason"],
                with_notes=form.cleaned_data["notes"],
                shown=reviewed.read(request.POST.get("shown", ""), request.user, decision),
            )
        except (NotPossible, reviewed.Changed) as refusal:
            messages.warning(request, str(refusal.message))
        else:
            messages.success(request, _("The text was erased. The audit log has an entry."))
            return redirect(f"{reverse('sender', args=[slug])}?{urlencode({'id': sender_id})}")
    scope = erasure.scope_of(erasure_request)
    context = {
        "application": application,
        "user_id": sender_id,
        "sender": Sender.objects.filter(application=application, user_id=sender_id).first(),
        "form": form,
        "scope": scope,
        "problem": erasure.problem_of(scope, with_notes=True),
        "shown": reviewed.token(request.user, decision, scope.aspects()),
    }
    return render(request, "privacy/pages/erase_text.html", context)
