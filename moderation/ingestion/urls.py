"""The webhook, and the page about it."""

from django.urls import path

from moderation.ingestion.views import feed_page
from moderation.ingestion.webhooks import receive

urlpatterns = [
    # First, for the most requests go there. GoEasy follows no redirect: with or without the slash.
    path("webhooks/goeasy/<slug:slug>", receive, name="goeasy-webhook"),
    path("webhooks/goeasy/<slug:slug>/", receive, name="goeasy-webhook"),
    path("feed/", feed_page, name="feed"),
]
