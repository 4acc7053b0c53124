"""URLs of the webhook and of its page."""

from django.urls import path

from moderation.ingestion.views import feed_page, test_connection_page
from moderation.ingestion.webhooks import receive

urlpatterns = [
    # First, because it gets the most requests. With and without the slash, because GoEasy follows no redirect.
    path("webhooks/goeasy/<slug:slug>", receive, name="goeasy-webhook"),
    path("webhooks/goeasy/<slug:slug>/", receive, name="goeasy-webhook"),
    path("feed/", feed_page, name="feed"),
    path("applications/<slug:slug>/test/", test_connection_page, name="application-test"),
]
