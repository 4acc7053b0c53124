"""Opening anything by its id or name: the palette's results, and the page with the same results."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from moderation.accounts.request_types import AuthenticatedRequest
from moderation.archive.events import Searched
from moderation.audit.services import record
from moderation.desk import palette

# Results of each kind: in the palette, and on the page.
SHOWN_IN_PALETTE, SHOWN = 5, 12


@login_required
@permission_required("archive.view_conversation", raise_exception=True)
@require_safe
def jump(request: AuthenticatedRequest) -> HttpResponse:
    """Show what an id, a name or a text may mean. The palette asks with htmx's header, and gets the results alone.

    The page redirects to a result that is the only one to open; a person counts as one.
    """
    text = request.GET.get("q", "").replace("\0", "").strip()
    is_part = bool(request.htmx)
    results = palette.results_for(text, request.user, shown=SHOWN_IN_PALETTE if is_part else SHOWN)
    if text and not results.problem:
        record(Searched(actor=request.user.get_username(), page="open", asked={"q": text}))
    if is_part:
        return render(request, "desk/partials/_results.html", {"results": results, "live": True})
    if results.only:
        return redirect(results.only)
    return render(request, "desk/pages/jump.html", {"results": results, "q": text})
