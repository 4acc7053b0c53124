"""What conversations are called: a group by its name, a pair by the two people's, or by ids for want of them.

And what people are called: in a message by the name that it carries itself, whatever they are called now.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from moderation.applications.models import Application
from moderation.archive.models import Conversation, Kind, Message, Sender
from moderation.characters import is_blank
from moderation.goeasy.fields import name_of, object_of, storable


def titled(conversations: Iterable[Conversation]) -> list[Conversation]:
    """The same conversations, each with `title`; one query for all of them."""
    conversations = list(conversations)
    users = {side for each in conversations for side in (each.user_a, each.user_b) if side}
    names = {
        (application, user): name
        for application, user, name in Sender.objects.filter(
            application__in={each.application_id for each in conversations}, user_id__in=users
        ).values_list("application_id", "user_id", "name")
        if not is_blank(name)
    }
    for each in conversations:
        each.title = each.shown_name or each.ids  # type: ignore[attr-defined]
        if each.kind == Kind.PRIVATE:
            sides = (each.user_a, each.user_b)
            each.title = " ↔ ".join(names.get((each.application_id, user)) or user for user in sides)  # type: ignore[attr-defined]
    return conversations


def sender_names(application: Application, user_ids: Iterable[str]) -> dict[str, str]:
    """The latest names of these users; a user without a visible one is left out."""
    known = Sender.objects.filter(application=application, user_id__in=list(user_ids)).exclude(name="")
    return {user_id: name for user_id, name in known.values_list("user_id", "name") if not is_blank(name)}


def name_in(message: Message) -> str:
    """The sender's name as the message itself carries it; empty when it carries none that is seen."""
    name = storable(name_of(object_of(message.data.get("senderData"))), 255)
    return "" if is_blank(name) else name


@dataclass(frozen=True)
class Writer:
    """What a message's sender is called. `now`: what they are called since, where that is another name."""

    name: str
    now: str = ""


def writer_of(message: Message, known: str) -> Writer:
    """What the sender of `message` is called; `known` is the latest known name, perhaps empty."""
    name, known = name_in(message), "" if is_blank(known) else known
    return Writer(name or known or message.sender_id, known if name and known != name else "")


def with_writers(messages: Iterable[Message]) -> list[Message]:
    """The same messages, each with `writer`, and its conversation's title; two queries."""
    messages = list(messages)
    titled(message.conversation for message in messages)
    known = Sender.objects.filter(
        application__in={message.conversation.application_id for message in messages},
        user_id__in={message.sender_id for message in messages},
    ).exclude(name="")
    names = {
        (application, user): name
        for application, user, name in known.values_list("application", "user_id", "name")
        if not is_blank(name)
    }
    for message in messages:
        key = (message.conversation.application_id, message.sender_id)
        message.writer = writer_of(message, names.get(key, ""))  # type: ignore[attr-defined]
    return messages
