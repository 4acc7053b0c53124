"""Where every address leads. This is the one place below `recall` that names it."""

from django.contrib import admin
from django.urls import include, path

from moderation.archive.views import feed_page, sender_page
from moderation.archive.webhooks import receive

urlpatterns = [
    # First, for the most requests go there. GoEasy follows no redirect: with or without the slash.
    path("webhooks/goeasy/<slug:slug>", receive, name="goeasy-webhook"),
    path("webhooks/goeasy/<slug:slug>/", receive, name="goeasy-webhook"),
    path("", include("recall.urls")),
    path("accounts/", include("moderation.accounts.urls")),
    path("conversations/", include("moderation.archive.urls")),
    path("senders/<slug:slug>/", sender_page, name="sender"),
    path("feed/", feed_page, name="feed"),
    path("admin/", admin.site.urls),
]
