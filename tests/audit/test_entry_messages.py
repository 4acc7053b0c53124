"""The page of an entry: its sentence, the messages that it is about, and the way back to the console."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from moderation.archive.models import Message
from moderation.audit.models import Action, AuditEntry

from .audit_list import LIST, entry

pytestmark = pytest.mark.django_db
FIRST = 1_700_000_000_000


def about(conversation: Any, *timestamps: int) -> AuditEntry:
    return entry(app="default", conversation=conversation.for_audit(), timestamps=timestamps, response_code=200)


def page_of(reader: Client, written: AuditEntry) -> str:
    return reader.get(f"{LIST}{written.pk}/change/").content.decode()


def test_the_page_shows_the_message_and_leads_to_it(
    reader: Client, private: Any, make_message: Callable[..., Any]
) -> None:
    make_message(private, FIRST, payload={"text": "buy <b>now</b>"})
    page = page_of(reader, about(private, FIRST, FIRST + 1))
    assert "buy &lt;b&gt;now&lt;/b&gt;" in page
    assert f'href="{private.get_absolute_url()}?at={FIRST}"' in page
    assert "The archive has no message at this time." in page


def test_showing_messages_is_recorded_and_showing_none_is_not(
    reader: Client, private: Any, make_message: Callable[..., Any]
) -> None:
    make_message(private, FIRST)
    opened = AuditEntry.objects.filter(action=Action.CONVERSATION_OPENED)
    page_of(reader, about(private, FIRST + 1))
    assert not opened.exists()
    page_of(reader, about(private, FIRST))
    assert opened.get().detail["page"] == "admin: audit entry"


def test_an_erased_text_is_not_shown(reader: Client, private: Any, make_message: Callable[..., Any]) -> None:
    message = make_message(private, FIRST, payload={"text": "secret words"})
    Message.objects.filter(pk=message.pk).update(sha256="", raw="{}")
    page = page_of(reader, about(private, FIRST))
    assert "text erased on request" in page
    assert "secret words" not in page


def test_a_conversation_that_the_archive_does_not_know_leads_nowhere(reader: Client, application: Any) -> None:
    written = entry(app="default", conversation={"kind": "group", "group_id": "gone"}, timestamps=[FIRST])
    assert "In the console" not in page_of(reader, written)


def test_thousands_of_timestamps_take_as_many_queries_as_two(
    reader: Client, group: Any, make_message: Callable[..., Any]
) -> None:
    for number in range(12):
        make_message(group, FIRST + number)
    counts = []
    for written in (about(group, FIRST, FIRST + 1), about(group, *range(FIRST, FIRST + 3_000))):
        page_of(reader, written)
        with CaptureQueriesContext(connection) as queries:
            page = page_of(reader, written)
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert "2990 more timestamps are not shown here." in page
