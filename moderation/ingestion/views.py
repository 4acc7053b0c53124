"""The page about the webhooks, and the test of the connection."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from moderation.accounts.request_types import AuthenticatedRequest
from moderation.applications.models import Application
from moderation.ingestion import connection, feed


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


@login_required
@permission_required("applications.change_application", raise_exception=True)
@require_POST
def test_connection_page(request: AuthenticatedRequest, slug: str) -> HttpResponse:
    """Test the connection with the saved key, and say the result on the application's page."""
    application = get_object_or_404(Application, slug=slug)
    result = connection.test(application)
    (messages.success if result.is_ok else messages.error)(request, result.message)
    return redirect("admin:applications_application_change", application.pk)
