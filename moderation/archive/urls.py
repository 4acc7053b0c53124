"""The list of conversations, and opening one that is not in it. A conversation's own page is in `recall`."""

from django.urls import path

from moderation.archive import views

urlpatterns = [
    path("", views.conversation_list, name="conversations"),
    path("open/", views.open_conversation, name="open-conversation"),
    path("<int:pk>/hold/", views.hold, name="conversation-hold"),
]
