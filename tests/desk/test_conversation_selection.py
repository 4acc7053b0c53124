"""Selecting messages on a conversation's page, and the form that leads to the review."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from moderation.accounts.models import Pseudonym
from moderation.applications.models import Application
from moderation.archive.models import Conversation, Message
from moderation.desk.views import selection
from recall.models import Recall, RecallReason
from tests.desk.conversations import START, address, fill, page, recall_of, shown
from tests.markup import markup

# Selecting


def selected(client: Client, conversation: Conversation, query: str) -> dict[str, Any]:
    response = client.get(address(conversation, f"messages/{query}"))
    assert response.status_code == 200
    result: dict[str, Any] = response.json()
    return result


def test_all_from_a_sender_come_from_the_whole_archive(mo: Client, private: Conversation) -> None:
    messages = fill(private, 200)
    result = selected(mo, private, "?sender=user-1")
    assert [each["timestamp"] for each in result["messages"]] == [message.timestamp for message in messages[1::3]]
    assert result["messages"][0] == {
        "timestamp": START + 1000,
        "sender": "user-1",
        "name": "Name 1",
        "text": "大家好, this is number 1",
        "count": 1,
    }
    assert (result["recalled"], result["more"]) == (0, False)


def test_messages_recalled_or_being_recalled_are_left_out_and_counted(
    mo: Client, moderator: Any, reason: RecallReason, private: Conversation, make_message: Callable[..., Message]
) -> None:
    sent = [make_message(private, START + number) for number in range(4)]
    make_message(private, START + 9, recalled=True)
    for message, state in zip(sent, ["pending", "accepted", "refused"], strict=False):
        recall_of(message, moderator, reason, state)
    result = selected(mo, private, "?sender=user-a")
    assert [each["timestamp"] - START for each in result["messages"]] == [2, 3]
    assert result["recalled"] == 3


def test_a_span_of_time_is_in_the_moderator_s_zone(
    client: Client, make_user: Callable[..., Any], private: Conversation
) -> None:
    fill(private, 10)
    client.force_login(make_user("wang", "moderator", timezone="Asia/Shanghai"))
    result = selected(client, private, "?since=2026-11-18T19:06:42&until=2026-11-18T19:06:44")
    assert [each["timestamp"] - START for each in result["messages"]] == [2000, 3000, 4000]


def test_a_span_and_a_sender_narrow_together(mo: Client, private: Conversation) -> None:
    fill(private, 10)
    result = selected(mo, private, "?since=2026-11-18T11:06:42&sender=user-0")
    assert [each["timestamp"] - START for each in result["messages"]] == [3000, 6000, 9000]


@pytest.mark.parametrize("query", ["", "?since=yesterday", "?since=2026-13-45T00:00", "?until="])
def test_a_request_without_criteria_selects_nothing(mo: Client, private: Conversation, query: str) -> None:
    fill(private, 2)
    assert mo.get(address(private, f"messages/{query}")).status_code == 400


def test_the_newest_messages_are_selected_when_there_are_too_many_for_one_recall(
    mo: Client, private: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MAX_TIMESTAMPS", 5)
    fill(private, 8)
    result = selected(mo, private, "?since=2020-01-01T00:00")
    assert [each["timestamp"] - START for each in result["messages"]] == [3000, 4000, 5000, 6000, 7000]
    assert result["more"]


def test_pasted_timestamps_are_read_however_they_are_written(mo: Client, private: Conversation) -> None:
    fill(private, 3)
    wide = str(START).translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    result = mo.post(
        address(private, "messages/"), {"timestamps": f"{wide}，{START + 1000} {START + 1000}\n1700000000000 abc"}
    ).json()
    assert [each["timestamp"] - START for each in result["messages"]] == [0, 1000]
    assert result["unknown"] == [1700000000000]
    assert [piece for piece, _why in result["rejected"]] == ["abc"]


def test_two_messages_of_one_millisecond_are_one_timestamp(
    mo: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    for sender in ("user-a", "user-b"):
        make_message(private, START, senderId=sender)
    (message,) = selected(mo, private, "?sender=user-a")["messages"]
    assert message["count"] == 2


def test_another_conversation_s_messages_are_never_selected(
    mo: Client, private: Conversation, group: Conversation
) -> None:
    fill(group, 3)
    assert selected(mo, private, "?sender=user-1")["messages"] == []


# The form


def test_nothing_destructive_is_preselected(mo: Client, reason: RecallReason, private: Conversation) -> None:
    fill(private, 3)
    html = page(mo, private)
    assert '<option value="" selected>' in html
    assert "checked" not in html


def test_clients_will_see_the_moderator_s_pseudonym(
    mo: Client, moderator: Any, application: Application, private: Conversation
) -> None:
    Application.objects.update(recaller_id="team", recaller_data=None)
    assert "{&quot;id&quot;: &quot;team&quot;}" in page(mo, private)
    Pseudonym.objects.create(application=application, user=moderator, recaller_id="s-1", recaller_data={"name": "客服"})
    html = page(mo, private)
    assert "客服 · s-1" in html
    assert "{&quot;id&quot;: &quot;s-1&quot;, &quot;data&quot;: {&quot;name&quot;: &quot;客服&quot;}}" in html


def test_without_a_pseudonym_nobody_is_named(mo: Client, private: Conversation) -> None:
    assert "Nobody is named." in page(mo, private)


def test_the_form_leads_to_the_review(mo: Client, reason: RecallReason, private: Conversation) -> None:
    messages = fill(private, 3)
    html = page(mo, private)
    form = html[html.index('<form id="recall-form"') :]
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
    picked = [message.timestamp for message in messages[:2]]
    response = mo.post("/recalls/new/", {**fields, "timestamps": picked, "reason": reason.code})
    assert response.status_code == 200
    assert response.context["timestamps"] == tuple(picked)
    assert not Recall.objects.exists()


def test_turning_pages_without_script_keeps_what_was_ticked_and_typed(
    mo: Client, reason: RecallReason, private: Conversation
) -> None:
    messages = fill(private, 70)
    ticked = [messages[5].timestamp, messages[65].timestamp]
    response = mo.post(
        address(private),
        {
            "before": f"{messages[10].timestamp}-{messages[10].pk}",
            "timestamps": ticked,
            "reason": reason.code,
            "note": "a wave",
            "submission": uuid.uuid4(),
        },
    )
    html = markup(response)
    assert len(shown(html)) == 10
    assert re.findall(r'name="timestamps" value="(\d+)"[^>]* checked', html) == [str(ticked[0])]
    assert f'<input type="hidden" name="timestamps" value="{ticked[1]}">' in html
    assert "1 more selected on other pages" in html
    assert re.search(r'name="note"[^>]*>\s*a wave</textarea>', html)
    assert f'<option value="{reason.code}" selected>' in html
