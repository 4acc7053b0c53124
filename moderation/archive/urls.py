"""URLs of holds. The conversation's page is in `desk`."""

from django.urls import path

from moderation.archive import views

urlpatterns = [
    path("conversations/<int:pk>/hold/", views.hold, name="conversation-hold"),
]
