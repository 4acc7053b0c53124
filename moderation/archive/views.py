"""Putting conversations on hold."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from moderation import reviewed
from moderation.accounts.request_types import AuthenticatedRequest
from moderation.archive import retention
from moderation.archive.forms import HoldForm
from moderation.archive.models import Conversation


@login_required
@permission_required("archive.hold_conversation", raise_exception=True)
@require_POST
def hold(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Put a conversation on hold (`held=1`) or end the hold (`held=0`), with a note."""
    conversation = get_object_or_404(Conversation, pk=pk)
    form = HoldForm(request.POST)
    if not form.is_valid():
        messages.warning(request, " ".join(str(error) for errors in form.errors.values() for error in errors))
        return redirect(f"{conversation.get_absolute_url()}#archive")
    actor, note = request.user.get_username(), form.cleaned_data["note"]
    try:
        seen = reviewed.read(request.POST.get("shown", ""), request.user, f"hold:{pk}")
        if form.cleaned_data["held"]:
            retention.hold(conversation, actor, note, seen)
            messages.success(request, _("The conversation is on hold: nothing of it is deleted."))
        else:
            retention.release(conversation, actor, note, seen)
            messages.success(request, _("The hold has ended."))
    except reviewed.Changed as changed:
        messages.warning(request, changed.message)
    return redirect(f"{conversation.get_absolute_url()}#archive")
