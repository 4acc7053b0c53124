"""Where every address leads: each app has its own."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    # First, for the most requests go to the webhook.
    path("", include("moderation.ingestion.urls")),
    path("", include("moderation.desk.urls")),
    path("", include("recall.urls")),
    path("", include("moderation.archive.urls")),
    path("", include("moderation.privacy.urls")),
    path("", include("moderation.operations.urls")),
    path("accounts/", include("moderation.accounts.urls")),
    path("admin/", admin.site.urls),
]
