"""How the webhooks do."""

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from moderation.accounts.request_types import AuthenticatedRequest
from moderation.applications.models import Application
from moderation.ingestion import feed


@login_required
@permission_required("ingestion.view_feed", raise_exception=True)
@require_safe
def feed_page(request: AuthenticatedRequest) -> HttpResponse:
    """How the webhooks do, and how one is set up or switched on again: numbers, and no word of what was delivered."""
    feeds = [
        (feed.health(application), request.build_absolute_uri(reverse("goeasy-webhook", args=[application.slug])))
        for application in Application.objects.all()
    ]
    return render(request, "ingestion/feed.html", {"feeds": feeds})
