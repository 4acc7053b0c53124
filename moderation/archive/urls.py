"""Holds. A conversation's own page is on the desk."""

from django.urls import path

from moderation.archive import views

urlpatterns = [
    path("conversations/<int:pk>/hold/", views.hold, name="conversation-hold"),
]
