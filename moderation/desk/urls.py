"""URLs of home, conversations, senders, and opening anything by its id."""

from django.urls import path

from moderation.desk.views import conversation, conversation_rows, home, jump, lists, saved_searches, selection, sender

urlpatterns = [
    path("", home.home, name="home"),
    path("open/", jump.jump, name="jump"),
    path("conversations/", lists.conversation_list, name="conversations"),
    path("conversations/rows/", conversation_rows.conversation_rows, name="conversation-rows"),
    path("conversations/open/", lists.open_conversation, name="open-conversation"),
    path("conversations/saved/", saved_searches.save_search, name="save-search"),
    path("conversations/unsave/", saved_searches.unsave_search, name="unsave-search"),
    path("conversations/ticked/", lists.ticked_messages, name="ticked-messages"),
    path("conversations/<int:pk>/", conversation.conversation, name="conversation"),
    path("conversations/<int:pk>/news/", conversation.conversation_news, name="conversation-news"),
    path("conversations/<int:pk>/messages/", selection.select_messages, name="conversation-select"),
    path("conversations/<int:pk>/filter/", lists.filter_messages, name="conversation-filter"),
    path("senders/<slug:slug>/", sender.sender_page, name="sender"),
]
