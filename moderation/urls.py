"""Where every address leads. This is the one place below `recall` that names it."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("recall.urls")),
    path("accounts/", include("moderation.accounts.urls")),
    path("conversations/", include("moderation.archive.urls")),
    path("admin/", admin.site.urls),
]
