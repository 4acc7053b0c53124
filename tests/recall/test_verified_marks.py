"""Verification marks: every page shows them, and messages that are gone are not recalled again."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from moderation.archive.models import Conversation, Message
from recall.models import Recall, RecallItem, RecallReason
from recall.sweeps import plan_sweep
from tests.outbox.calls import make_batch

FIRST = 1_795_000_000_000
Make = Callable[..., Message]


@pytest.fixture
def mo(client: Client, moderator: Any) -> Client:
    client.force_login(moderator)
    return client


@pytest.fixture
def verified(moderator: Any, reason: RecallReason) -> Callable[..., Recall]:
    """A function that makes a recall of one message, of which history showed something."""

    def make(message: Message, verification: str, state: str = "accepted") -> Recall:
        recall = Recall.objects.create(
            application=message.conversation.application,
            conversation=message.conversation,
            actor=moderator,
            reason=reason,
        )
        batch = make_batch(recall, state=state)
        RecallItem.objects.create(
            recall=recall, batch=batch, position=0, timestamp=message.timestamp, verification=verification
        )
        return recall

    return make


def rows(html: str) -> list[str]:
    """The rows or hits of a page, as texts."""
    return re.findall(r'<li class="(?:message|hit)[\s"].*?</li>', html, re.DOTALL)


def is_disabled(row: str) -> bool:
    return re.search(r'<input type="checkbox"[^>]*disabled', row) is not None


@pytest.mark.parametrize("page", ["conversation", "search", "sender"])
def test_every_page_says_what_was_verified_and_offers_only_what_is_still_there(
    mo: Client, group: Conversation, make_message: Make, verified: Callable[..., Recall], page: str
) -> None:
    gone, visible, open_ = (make_message(group, FIRST + n, payload={"text": f"spam {n}"}) for n in range(3))
    recall = verified(gone, "gone")
    verified(visible, "still visible")
    verified(open_, "")
    address = {
        "conversation": group.get_absolute_url(),
        "search": reverse("conversations") + "?q=spam",
        "sender": reverse("sender", args=["default"]) + "?id=user-a",
    }[page]
    shown = rows(mo.get(address).content.decode())
    assert len(shown) == 3
    if page != "conversation":
        shown.reverse()
    assert ["Verified: removed" in row for row in shown] == [True, False, False]
    assert ["Verified: still visible" in row for row in shown] == [False, True, False]
    assert [is_disabled(row) for row in shown] == [True, False, False]
    assert all("Our recall:" in row for row in shown)
    assert f'href="/recalls/{recall.pk}/"' in shown[0]


def test_the_latest_verification_counts_and_a_later_recall_does_not_hide_it(
    mo: Client, group: Conversation, make_message: Make, verified: Callable[..., Recall]
) -> None:
    message = make_message(group, FIRST)
    verified(message, "still visible")
    verified(message, "gone")
    verified(message, "", state="refused")
    (row,) = rows(mo.get(group.get_absolute_url()).content.decode())
    assert "Verified: removed" in row
    assert "Our recall: refused" in row


def test_another_conversations_recall_at_the_same_time_marks_nothing(
    mo: Client, group: Conversation, private: Conversation, make_message: Make, verified: Callable[..., Recall]
) -> None:
    make_message(group, FIRST, payload={"text": "spam"})
    verified(make_message(private, FIRST), "gone")
    (hit,) = rows(mo.get(reverse("conversations") + "?q=spam").content.decode())
    assert "Verified" not in hit


def test_all_from_a_sender_are_without_what_is_gone_and_with_what_is_still_visible(
    mo: Client, group: Conversation, make_message: Make, verified: Callable[..., Recall]
) -> None:
    gone, visible, accepted, unknown = (make_message(group, FIRST + n) for n in range(4))
    verified(gone, "gone", state="unknown")
    verified(visible, "still visible")
    verified(accepted, "")
    verified(unknown, "unknowable", state="unknown")
    answer = mo.get(f"{group.get_absolute_url()}messages/?sender=user-a").json()
    assert [each["timestamp"] for each in answer["messages"]] == [visible.timestamp, unknown.timestamp]
    assert answer["recalled"] == 2


def test_a_pasted_list_selects_what_is_gone_and_says_so(
    mo: Client, group: Conversation, make_message: Make, verified: Callable[..., Recall]
) -> None:
    gone, other = (make_message(group, FIRST + n) for n in range(2))
    verified(gone, "gone")
    pasted = {"timestamps": f"{gone.timestamp} {other.timestamp}"}
    answer = mo.post(f"{group.get_absolute_url()}messages/", pasted).json()
    assert [each["timestamp"] for each in answer["messages"]] == [gone.timestamp, other.timestamp]
    assert answer["gone"] == 1


def test_messages_that_no_recall_can_name_are_left_out_and_counted(
    mo: Client, group: Conversation, make_message: Make
) -> None:
    make_message(group, 1795718732695123456)
    make_message(group, FIRST)
    answer = mo.get(f"{group.get_absolute_url()}messages/?sender=user-a").json()
    assert [each["timestamp"] for each in answer["messages"]] == [FIRST]
    assert (answer["recalled"], answer["not_nameable"]) == (0, 1)
    hits = rows(mo.get(reverse("sender", args=["default"]) + "?id=user-a").content.decode())
    assert sorted(map(is_disabled, hits)) == [False, True]
    assert "time not plausible: 1795718732695123456" in "".join(hits)


def test_the_review_points_out_what_is_gone(
    mo: Client, group: Conversation, reason: RecallReason, make_message: Make, verified: Callable[..., Recall]
) -> None:
    verified(make_message(group, FIRST), "gone")
    form = {"app": "default", "kind": "group", "group_id": "group-1", "timestamps": str(FIRST), "reason": reason.code}
    html = mo.post("/recalls/new/", form | {"submission": str(uuid.uuid4())}).content.decode()
    assert "1 message was verified as removed after an earlier recall." in html


def test_a_sweep_leaves_out_what_is_gone_although_its_call_was_refused(
    group: Conversation, make_message: Make, verified: Callable[..., Recall]
) -> None:
    gone, refused = (make_message(group, FIRST + n) for n in range(2))
    verified(gone, "gone", state="refused")
    verified(refused, "", state="refused")
    planned = plan_sweep(application=group.application, sender_id="user-a", since=FIRST, until=FIRST + 9)
    assert [part.timestamps for part in planned.parts] == [(refused.timestamp,)]


def test_a_sweep_leaves_what_no_recall_can_name_and_its_review_says_so(
    mo: Client, group: Conversation, make_message: Make, reason: RecallReason
) -> None:
    bogus, now = make_message(group, 1795718732), int(timezone.now().timestamp() * 1000)
    make_message(group, now)
    assert bogus.placed_at is not None
    criteria: dict[str, Any] = {"application": group.application, "sender_id": "user-a", "until": now + 10_000}
    planned = plan_sweep(**criteria, since=0)
    assert [part.timestamps for part in planned.parts] == [(now,)]
    form = {
        "app": "default",
        "sender": "user-a",
        "since": "2020-01-01T00:00:00",
        "until": "2030-01-01T00:00:00",
        "reason": reason.code,
        "submission": str(uuid.uuid4()),
    }
    assert "1 message that arrived in this time stays" in mo.post("/sweeps/new/", form).content.decode()


def test_a_senders_page_counts_what_is_gone_without_a_mark(
    mo: Client, group: Conversation, make_message: Make, verified: Callable[..., Recall]
) -> None:
    verified(make_message(group, FIRST), "gone")
    html = mo.get(reverse("sender", args=["default"]) + "?id=user-a").content.decode()
    assert "0 of 1 (0%)" in html
    assert "1 more verified as removed" in html


def test_the_marks_take_one_query_however_many_messages_there_are(
    mo: Client, group: Conversation, make_message: Make, verified: Callable[..., Recall]
) -> None:
    verified(make_message(group, FIRST, payload={"text": "spam"}), "gone")
    address = reverse("conversations") + "?q=spam"
    with CaptureQueriesContext(connection) as few:
        mo.get(address)
    for n in range(1, 20):
        verified(make_message(group, FIRST + n, payload={"text": "spam"}), "gone")
    with CaptureQueriesContext(connection) as many:
        mo.get(address)
    assert len(few) == len(many)
