"""The page about the webhooks."""

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
    """Show the health of the webhooks and how to set one up or enable it again. Shows no delivered text."""
    feeds = [
        (feed.health(application), request.build_absolute_uri(reverse("goeasy-webhook", args=[application.slug])))
        for application in Application.objects.all()
    ]
    return render(request, "ingestion/pages/feed.html", {"feeds": feeds})
