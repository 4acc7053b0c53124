"""Reading GoEasy's history from a conversation's page."""

from __future__ import annotations

import json
import re
from typing import Any

from django.test import Client

from moderation.applications.models import Application
from moderation.archive.ingest import ingest
from moderation.archive.models import Conversation, Message
from tests.desk.conversations import START, fill, history, page, shown


def test_opening_reads_history_into_the_archive(
    mo: Client, connected: Application, sandbox: Any, private: Conversation
) -> None:
    history(sandbox, private, 100)
    html = page(mo, private)
    assert shown(html) == [START + number for number in range(40, 100)]
    assert "could not be read" not in html


def test_going_up_reads_on_until_the_start_and_says_that_it_is_the_start(
    mo: Client, connected: Application, sandbox: Any, private: Conversation
) -> None:
    history(sandbox, private, 150)
    timestamps: list[int] = []
    html = page(mo, private)
    while True:
        timestamps = shown(html) + timestamps
        if not (older := re.search(r'name="before" value="([\d-]+)"', html)):
            break
        html = page(mo, private, f"?before={older[1]}")
    assert timestamps == [START + number for number in range(150)]
    assert "as far as GoEasy’s history and the archive reach" in html


def test_a_message_that_was_archived_alone_leaves_no_gap(
    mo: Client, connected: Application, sandbox: Any, private: Conversation
) -> None:
    history(sandbox, private, 200)
    ingest(private, [json.dumps(message) for message in sandbox.messages(private.for_audit())[120:121]])
    timestamps = shown(page(mo, private))
    assert timestamps == [START + number for number in range(140, 200)]
    key = f"{timestamps[0]}-{Message.objects.get(timestamp=timestamps[0]).pk}"
    assert shown(page(mo, private, f"?before={key}")) == [START + number for number in range(80, 140)]


def test_when_goeasy_is_down_the_archive_is_shown_with_a_banner(mo: Client, private: Conversation) -> None:
    fill(private, 3)
    html = page(mo, private)
    assert len(shown(html)) == 3
    assert "GoEasy’s history could not be read: this is what the archive has." in html
    assert "refused the connection" in html
    assert "Try again" in html


def test_without_a_key_it_says_what_to_set(mo: Client, private: Conversation, settings: Any) -> None:
    settings.GOEASY_APPKEY = ""
    assert "GOEASY_APPKEY" in page(mo, private)


def test_more_messages_in_one_millisecond_than_history_can_tell_are_reported(
    mo: Client, connected: Application, sandbox: Any, private: Conversation
) -> None:
    crowd = [{"type": "text", "timestamp": START, "senderId": "a", "payload": {"text": str(n)}} for n in range(40)]
    sandbox.add_messages(private.for_audit(), crowd)
    assert f"More than 30 messages have the timestamp {START}" in page(mo, private)
