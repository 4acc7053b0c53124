"""Messages, recalls and sweeps keep the names of their time when people and groups are renamed."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from moderation.archive.ingest import ingest
from moderation.archive.models import Conversation, Message, Sender
from recall.models import Evidence, Recall, RecallReason, Sweep
from recall.sweeps import request_sweep

FIRST = 1_795_000_000_000
Make = Callable[..., Message]


@pytest.fixture
def mo(client: Client, moderator: Any) -> Client:
    client.force_login(moderator)
    return client


@pytest.fixture
def renamed(group: Conversation, make_message: Make) -> Message:
    """A message of 老王, who is renamed below; another whose sender is not; and their group, renamed as well."""
    first = make_message(
        group,
        FIRST,
        senderId="w",
        senderData={"name": "老王"},
        groupId="group-1",
        groupData={"name": "茶友群"},
        payload={"text": "cheap tea"},
    )
    make_message(group, FIRST + 1, senderId="k", senderData={"name": "Kim"}, payload={"text": "cheap cups"})
    return first


def rename(group: Conversation, make_message: Make) -> None:
    make_message(
        group,
        FIRST + 1000,
        senderId="w",
        senderData={"name": "User 2"},
        groupId="group-1",
        groupData={"name": "Closed"},
        payload={"text": "hello"},
    )


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def rows(html: str) -> list[str]:
    return [text(row) for row in re.findall(r'<li class="(?:message|hit)[\s"].*?</li>', html, re.DOTALL)]


@pytest.mark.parametrize("page", ["conversation", "search"])
def test_a_message_keeps_the_name_that_it_carries_with_todays_beside_it(
    mo: Client, group: Conversation, renamed: Message, make_message: Make, page: str
) -> None:
    rename(group, make_message)
    address = group.get_absolute_url() if page == "conversation" else reverse("conversations") + "?q=cheap"
    row_of = {
        ("tea" if "tea" in row else "cups"): row for row in rows(mo.get(address).content.decode()) if "cheap" in row
    }
    assert "老王 now User 2" in row_of["tea"]
    assert "Kim" in row_of["cups"]
    assert "now" not in row_of["cups"]


def test_a_name_in_json_text_is_the_messages_own(mo: Client, group: Conversation, make_message: Make) -> None:
    make_message(group, FIRST, senderId="w", senderData='{"name":"老王"}')
    Sender.objects.update_or_create(
        application=group.application, user_id="w", defaults={"name": "User 2", "as_of": FIRST + 1}
    )
    (row,) = rows(mo.get(group.get_absolute_url()).content.decode())
    assert "老王 now User 2" in row


def test_a_message_that_carries_no_name_shows_the_one_that_is_known(
    mo: Client, group: Conversation, make_message: Make
) -> None:
    make_message(group, FIRST, senderId="w")
    make_message(group, FIRST + 1, senderId="w", senderData={"name": "老王"})
    first, _second = rows(mo.get(group.get_absolute_url()).content.decode())
    assert "老王 w" in first


def test_selection_and_review_show_the_names_of_then(
    mo: Client, group: Conversation, renamed: Message, make_message: Make, reason: RecallReason
) -> None:
    rename(group, make_message)
    answer = mo.get(f"{group.get_absolute_url()}messages/?sender=w").json()
    assert [each["name"] for each in answer["messages"]] == ["老王", "User 2"]
    form = {"app": "default", "kind": "group", "group_id": "group-1", "timestamps": str(FIRST), "reason": reason.code}
    html = mo.post("/recalls/new/", form | {"submission": str(uuid.uuid4())}).content.decode()
    assert "老王 now User 2" in text(html)


def test_a_recalls_evidence_and_title_keep_the_names_of_then(
    mo: Client,
    group: Conversation,
    renamed: Message,
    make_message: Make,
    make_recall: Callable[..., Recall],
) -> None:
    group.refresh_from_db()
    recall = make_recall([FIRST], "accepted", conversation=group)
    rename(group, make_message)
    page = text(mo.get(recall.get_absolute_url()).content.decode())
    assert "Recall in 茶友群" in page
    assert "called 茶友群 when this was decided" in page
    assert "老王 cheap tea" in page
    assert "茶友群" in text(mo.get("/recalls/").content.decode())
    # Decided after the renaming: the message is still 老王's, and the group is Closed.
    group.refresh_from_db()
    later = make_recall([FIRST], "accepted", conversation=group)
    assert Evidence.objects.get(item__recall=later).sender_name == "老王"
    assert "Recall in Closed" in text(mo.get(later.get_absolute_url()).content.decode())


def sweep_of(group: Conversation, actor: Any, reason: RecallReason) -> Sweep:
    criteria: dict[str, Any] = {"application": group.application, "sender_id": "w", "since": FIRST, "until": FIRST + 9}
    return request_sweep(
        **criteria,
        actor=actor,
        reason=reason,
        note="",
        recaller=None,
        submission=uuid.uuid4(),
        grace_seconds=0,
    )


def test_a_sweeps_title_is_the_name_of_when_it_was_decided(
    mo: Client, moderator: Any, group: Conversation, renamed: Message, make_message: Make, reason: RecallReason
) -> None:
    sweep = sweep_of(group, moderator, reason)
    rename(group, make_message)
    page = mo.get(sweep.get_absolute_url()).content.decode()
    assert "Sweep: everything of 老王" in text(page)
    assert "w now User 2" in text(page)
    assert "茶友群" in text(page)


@pytest.mark.parametrize("name", ["Tom \ud83d", "Tom \x00"])
def test_a_message_whose_senders_name_no_database_takes_is_shown_and_recalled(
    mo: Client, group: Conversation, make_recall: Callable[..., Recall], name: str
) -> None:
    fields = {"type": "text", "messageId": "m-1", "timestamp": FIRST, "senderId": "w", "payload": {"text": "a message"}}
    assert ingest(group, [json.dumps({**fields, "senderData": {"name": name}})]).added == 1
    assert mo.get(group.get_absolute_url()).status_code == 200
    assert mo.get("/conversations/", {"q": "message", "sender": "w"}).status_code == 200
    assert mo.get(reverse("sender", args=["default"]), {"id": "w"}).status_code == 200
    make_recall([FIRST], "accepted", conversation=group)
    assert Evidence.objects.get().sender_name.startswith("Tom ")
