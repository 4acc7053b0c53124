"""The list of conversations, the search, and opening what is not in them. A conversation's own page is in `recall`."""

from django.urls import path

from moderation.archive import views

urlpatterns = [
    path("", views.conversation_list, name="conversations"),
    path("open/", views.open_conversation, name="open-conversation"),
    path("<int:pk>/filter/", views.filter_messages, name="conversation-filter"),
    path("<int:pk>/hold/", views.hold, name="conversation-hold"),
    path("ticked/", views.ticked_messages, name="ticked-messages"),
]
