"""What the palette offers to do: pages and forms, each for those who may open it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from moderation.accounts.models import User
from moderation.desk.models import SavedSearch
from moderation.goeasy.client import MAX_ID_LENGTH
from moderation.search.normalise import normalise


@dataclass(frozen=True)
class Action:
    """Something to do, with its address. `keys`: the letters that do the same on any page.

    `is_post`: it is a button of the form for signing out.
    """

    label: str | Promise
    address: str
    keys: str = ""
    is_post: bool = False


# Label, route, permission (empty for none) and keys.
PAGES = (
    (gettext_lazy("New recall by timestamps"), "recall-new", "recall.add_recall", "g n"),
    (gettext_lazy("New sweep"), "sweep-new", "recall.add_recall", ""),
    (gettext_lazy("Open by ids"), "open-conversation", "archive.open_conversation", ""),
    (gettext_lazy("Home"), "home", "recall.view_recall", "g h"),
    (gettext_lazy("Conversations"), "conversations", "archive.view_conversation", "g c"),
    (gettext_lazy("Recalls"), "recalls", "recall.view_recall", "g r"),
    (gettext_lazy("Feed"), "feed", "ingestion.view_feed", ""),
    (gettext_lazy("Preferences"), "preferences", "", ""),
    (gettext_lazy("Change password"), "password_change", "", ""),
)
STAFF_PAGES = (
    (gettext_lazy("Audit log"), "admin:audit_auditentry_changelist", "audit.view_auditentry"),
    (gettext_lazy("Admin"), "admin:index", ""),
)


def actions_for(user: User) -> list[Action]:
    """Everything that `user` may do from anywhere, in the order of the palette."""
    actions = [
        Action(label, reverse(route), keys)
        for label, route, permission, keys in PAGES
        if not permission or user.has_perm(permission)
    ]
    if user.is_staff:
        actions += [
            Action(label, reverse(route))
            for label, route, permission in STAFF_PAGES
            if not permission or user.has_perm(permission)
        ]
    address = reverse("conversations")
    actions += [
        Action(_("Search: %(name)s") % {"name": search.name}, f"{address}?{search.query}")
        for search in SavedSearch.objects.filter(user=user)
    ]
    return [*actions, Action(gettext_lazy("Sign out"), reverse("logout"), is_post=True)]


def matching(text: str, user: User) -> list[Action]:
    """The actions whose label, in the reader's language, contains every word of `text`; all of them without text."""
    words = normalise(text).split()
    if text and not words:
        return []
    return [action for action in actions_for(user) if all(word in normalise(str(action.label)) for word in words)]


def opening(text: str, user: User) -> list[Action]:
    """Actions that open a conversation that the archive may not know, if `text` can be its ids: "a/b", or a group's."""
    sides = [side.strip() for side in text.split("/")]
    if not user.has_perm("archive.open_conversation") or text.isspace():
        return []
    pair = sides if len(sides) == 2 and all(0 < len(side) <= MAX_ID_LENGTH for side in sides) else [text, ""]
    address, actions = reverse("open-conversation"), []
    if len(pair[0]) <= MAX_ID_LENGTH:
        query = {"kind": "private", "user_a": pair[0], "user_b": pair[1]}
        actions.append(Action(_("Open as a private conversation"), f"{address}?{urlencode(query)}"))
    if len(text) <= MAX_ID_LENGTH:
        query = {"kind": "group", "group_id": text}
        actions.append(Action(_("Open as a group"), f"{address}?{urlencode(query)}"))
    return actions
