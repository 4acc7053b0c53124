"""How many bytes a page of messages has: each row is sent sixty times."""

from __future__ import annotations

from collections.abc import Callable

from django.test import Client

from moderation.archive.models import Conversation, Message

from .conversations import START

# A header of its own each, as in a group where everybody talks.
BYTES_A_ROW = 720
BYTES_BESIDE_THEM = 24_000


def test_a_row_of_a_message_is_light(
    client: Client, moderator: object, private: Conversation, make_message: Callable[..., Message]
) -> None:
    client.force_login(moderator)  # type: ignore[arg-type]
    empty = len(client.get(f"/conversations/{private.pk}/").content)
    for number in range(20):
        make_message(
            private, START + number * 600_000, senderData={"name": "Lin Mei"}, payload={"text": "Good morning"}
        )
    full = len(client.get(f"/conversations/{private.pk}/").content)
    assert empty < BYTES_BESIDE_THEM
    assert (full - empty) / 20 < BYTES_A_ROW
