"""Rows of the lists of conversations: who, the newest message in one line, and what needs somebody.

The conversations page, the left pane of a conversation and the home page show the same rows
(`templates/desk/partials/_conversation_list.html`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext as _

from moderation.accounts.models import User
from moderation.archive import timeline
from moderation.archive.index_order import following_indexes
from moderation.archive.messages import TYPES, read
from moderation.archive.messages.shown import Words, one_line
from moderation.archive.models import Conversation, Kind, Message, Sender
from moderation.archive.names import titled, writer_of
from moderation.characters import is_blank
from moderation.desk import read_markers
from recall import attention

# Characters of a snippet and of what stands before it; the row cuts them to its width.
TEXT_LENGTH = 140
NAME_LENGTH = 32
TYPE_LENGTH = 20
# Ids such as "g-book-club" have words, too.
BETWEEN_WORDS = re.compile(r"[\s/.:|·_-]+")


@dataclass(frozen=True)
class Snippet:
    """A message in one line. `label`: its type, when that has no presentation of its own.

    `is_note`: whether `text` is the console's word about the message rather than what the sender wrote.
    """

    sender: str
    text: str
    label: str = ""
    is_note: bool = False


@dataclass(frozen=True)
class Row:
    """A conversation as a list shows it. `time`: of its newest message (ms), 0 when none is archived."""

    conversation: Conversation
    time: int
    snippet: Snippet | None
    unread: int
    attention: str

    @property
    def is_group(self) -> bool:
        return self.conversation.kind == Kind.GROUP

    @property
    def more_unread(self) -> bool:
        """Whether there are more unread messages than are counted."""
        return self.unread >= read_markers.MAX_UNREAD

    @property
    def needs_action(self) -> bool:
        return self.attention == attention.NEEDS_ACTION

    @property
    def in_progress(self) -> bool:
        return self.attention == attention.IN_PROGRESS

    @property
    def initials(self) -> str:
        """What its avatar shows: the initials of both people, or of a group's first words."""
        if self.is_group:
            return initials(self.conversation.title)  # type: ignore[attr-defined]
        return "".join(initials(name)[:1] for name in self.conversation.sides)  # type: ignore[attr-defined]


def rows_of(user: User, conversations: Iterable[Conversation], *, also: Iterable[Conversation] = ()) -> list[Row]:
    """The rows of `conversations` for `user`; seven queries, however many. `also`: get a title, too."""
    conversations = list(conversations)
    titled([*conversations, *also])
    with following_indexes():
        newest = timeline.newest_of(conversations)
        unread = read_markers.unread(user, conversations)
    names = _names(conversations, newest)
    needs = attention.of_conversations(each.pk for each in conversations)
    return [
        Row(
            conversation=each,
            time=message.sort_time if (message := newest.get(each.pk)) else each.last_timestamp,
            snippet=snippet(message, names.get((each.application_id, message.sender_id), "")) if message else None,
            unread=unread.get(each.pk, 0),
            attention=needs.get(each.pk, ""),
        )
        for each in conversations
    ]


def _names(conversations: list[Conversation], newest: dict[int, Message]) -> dict[tuple[int, str], str]:
    """The stored names of the messages' senders, by application and id; one query."""
    senders = Sender.objects.filter(
        application__in={each.application_id for each in conversations},
        user_id__in={message.sender_id for message in newest.values()},
    )
    return {
        (application, user): name for application, user, name in senders.values_list("application", "user_id", "name")
    }


def snippet(message: Message, latest_name: str) -> Snippet:
    """A message in one line; `latest_name`: the sender's current name, perhaps empty."""
    sender = one_line(writer_of(message, latest_name).name, NAME_LENGTH)
    if message.is_erased:
        return Snippet(sender, _("text erased on request"), is_note=True)
    if message.recalled:
        return Snippet(sender, _("recalled"), is_note=True)
    shown = read(message.raw)
    text = shown.snippet(TEXT_LENGTH)
    if not text or text.isspace():
        return Snippet(sender, _("(empty)"), is_note=True)
    if message.type not in TYPES:
        return Snippet(sender, text, label="" if is_blank(message.type) else one_line(message.type, TYPE_LENGTH))
    # A payload that does not match its type is shown as it came.
    is_malformed = isinstance(shown, Words) and shown.form == "json"
    return Snippet(sender, text, label=_("unreadable") if is_malformed else "")


def initials(name: str) -> str:
    """The first letters of the first two words; of a name in Chinese, or another script without words, the first.

    A name without letters and digits has its first visible character, such as an emoji.
    """
    words = [word for word in BETWEEN_WORDS.split(name) if _first(word)]
    if not words:
        return next((sign for sign in name if not is_blank(sign)), "?")
    first = [_first(word) for word in words[:2]]
    # From here on, letters are as wide as two.
    return first[0] if first[0] >= "\u2e80" else "".join(first)


def _first(word: str) -> str:
    """The first letter or digit; empty when there is none."""
    return next((sign.upper()[:1] for sign in word if unicodedata.category(sign)[0] in "LN"), "")
