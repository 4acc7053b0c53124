"""URL of erasure on request."""

from django.urls import path

from moderation.privacy.views import erase_text

urlpatterns = [
    path("senders/<slug:slug>/erase/", erase_text, name="erase-text"),
]
