"""Names of conversations and people.

A group goes by its name, a pair by the two users' names, either by ids when it has no name. The sender of a message
goes by the name in that message, whatever the current one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from moderation.applications.models import Application
from moderation.archive.models import Conversation, Kind, Message, Sender
from moderation.characters import is_blank
from moderation.goeasy.fields import name_of, object_of, storable


def titled(conversations: Iterable[Conversation]) -> list[Conversation]:
    """Return the conversations, each with `title`, and `sides`, the names that it consists of; one query for all."""
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
        sides = [each.shown_name or each.group_id]
        if each.kind == Kind.PRIVATE:
            sides = [names.get((each.application_id, user)) or user for user in (each.user_a, each.user_b)]
        each.sides, each.title = sides, " ↔ ".join(sides)  # type: ignore[attr-defined]
    return conversations


def sender_names(application: Application, user_ids: Iterable[str]) -> dict[str, str]:
    """The latest names of these users by id, without those that have no visible name."""
    senders = Sender.objects.filter(application=application, user_id__in=list(user_ids)).exclude(name="")
    return {user_id: name for user_id, name in senders.values_list("user_id", "name") if not is_blank(name)}


def name_in(message: Message) -> str:
    """The sender's name in the message itself; empty when it has no visible one."""
    name = storable(name_of(object_of(message.data.get("senderData"))), 255)
    return "" if is_blank(name) else name


@dataclass(frozen=True)
class Writer:
    """The name of a message's sender. `now`: the current name, when it differs."""

    name: str
    now: str = ""


def writer_of(message: Message, latest_name: str) -> Writer:
    """The name of the sender of `message`; `latest_name` is the current one, perhaps empty."""
    name, latest_name = name_in(message), "" if is_blank(latest_name) else latest_name
    return Writer(name or latest_name or message.sender_id, latest_name if name and latest_name != name else "")


def with_writers(messages: Iterable[Message]) -> list[Message]:
    """Return the messages, each with `writer` and its conversation's title; two queries."""
    messages = list(messages)
    titled(message.conversation for message in messages)
    senders = Sender.objects.filter(
        application__in={message.conversation.application_id for message in messages},
        user_id__in={message.sender_id for message in messages},
    ).exclude(name="")
    names = {
        (application, user): name
        for application, user, name in senders.values_list("application", "user_id", "name")
        if not is_blank(name)
    }
    for message in messages:
        key = (message.conversation.application_id, message.sender_id)
        message.writer = writer_of(message, names.get(key, ""))  # type: ignore[attr-defined]
    return messages
