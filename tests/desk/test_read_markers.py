"""What is unread: messages that arrived since a person last looked, by row id."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from moderation.applications.models import Application
from moderation.archive import arrivals
from moderation.archive.arrivals import Mark, mark_of
from moderation.archive.models import Conversation, Message
from moderation.archive.retention import delete_older
from moderation.desk.models import ReadMarker
from moderation.desk.read_markers import MAX_UNREAD, remember, unread
from tests.desk.conversations import HTMX, START, address, fill, history, page

LATER = START + 1_000_000


def number(user: Any, conversation: Conversation) -> int:
    return unread(user, [conversation]).get(conversation.pk, 0)


def open_page(client: Client, conversation: Conversation) -> dict[str, str]:
    """Open the conversation; returns what an open page sends with its requests for messages."""
    html = page(client, conversation)
    mark = re.search(r'id="mark" value="([^"]*)"', html)
    first = re.search(r'data-timestamp="(\d+)"', html)
    assert mark
    return {"mark": mark[1], "from": first[1] if first else ""}


def test_a_conversation_that_the_person_never_opened_is_not_unread(
    mo: Client, moderator: Any, private: Conversation
) -> None:
    fill(private, 3)
    assert number(moderator, private) == 0
    assert "unread" not in mo.get("/conversations/").content.decode()


def test_messages_that_arrive_after_the_last_look_are_unread_until_the_next(
    mo: Client, moderator: Any, private: Conversation
) -> None:
    fill(private, 3)
    open_page(mo, private)
    assert number(moderator, private) == 0
    fill(private, 2, start=LATER)
    assert number(moderator, private) == 2
    html = mo.get("/conversations/").content.decode()
    assert 'class="conversation-row unread"' in html
    assert re.search(r'class="new">2\s*<span class="sr-only">unread', html)
    open_page(mo, private)
    assert number(moderator, private) == 0


def test_each_person_has_their_own(
    mo: Client, moderator: Any, lead: Any, private: Conversation, group: Conversation
) -> None:
    open_page(mo, private)
    mo.force_login(lead)
    open_page(mo, group)
    fill(private, 1)
    fill(group, 2)
    assert unread(moderator, [private, group]) == {private.pk: 1}
    assert unread(lead, [private, group]) == {group.pk: 2}


def test_an_old_message_that_is_found_late_is_unread_only_within_what_was_shown(
    mo: Client, moderator: Any, private: Conversation
) -> None:
    fill(private, 3, start=LATER)
    open_page(mo, private)
    fill(private, 4, start=START)
    assert number(moderator, private) == 0
    fill(private, 1, start=LATER + 500)
    assert number(moderator, private) == 1


def test_messages_that_opening_reads_from_history_are_not_unread(
    mo: Client, moderator: Any, connected: Application, sandbox: Any, private: Conversation
) -> None:
    # More than a page: the archive has the rest, too, and nobody looked at it.
    history(sandbox, private, 85)
    open_page(mo, private)
    assert Message.objects.filter(conversation=private).count() > 60
    assert number(moderator, private) == 0


def test_showing_the_news_of_an_open_page_reads_them(mo: Client, moderator: Any, private: Conversation) -> None:
    fill(private, 3)
    sent = open_page(mo, private)
    fill(private, 2, start=LATER)
    # That there is news is not the news.
    mo.get(address(private, "news/"), sent, headers=HTMX)
    assert number(moderator, private) == 2
    mo.get(address(private), {**sent, "arrived": "1"}, headers={"HX-Request": "true"})
    assert number(moderator, private) == 0


def test_of_more_news_than_are_shown_at_once_the_rest_stays_unread(
    mo: Client, moderator: Any, private: Conversation
) -> None:
    fill(private, 3)
    sent = open_page(mo, private)
    fill(private, 120, start=LATER)
    mo.get(address(private), {**sent, "arrived": "1"}, headers={"HX-Request": "true"})
    assert number(moderator, private) == 120 - arrivals.MAX_NEWS


@pytest.mark.parametrize("query", ["?at=1", "?before=1795000070000-99999"])
def test_a_look_at_older_messages_leaves_the_newer_ones_unread(
    mo: Client, moderator: Any, private: Conversation, query: str
) -> None:
    open_page(mo, private)
    fill(private, 90)
    page(mo, private, query)
    assert number(moderator, private) == 90
    page(mo, private)
    assert number(moderator, private) == 0


def test_unread_messages_are_counted_up_to_a_limit(mo: Client, moderator: Any, private: Conversation) -> None:
    open_page(mo, private)
    fill(private, 150)
    assert number(moderator, private) == MAX_UNREAD
    assert re.search(r'class="new">99\+\s', mo.get("/conversations/").content.decode())


def test_a_row_that_becomes_visible_after_a_higher_one_is_unread(moderator: Any, private: Conversation) -> None:
    """On PostgreSQL a transaction with a lower row id may be committed later."""
    first, late, last = fill(private, 3)
    remember(moderator, private, Mark(0, frozenset({first.pk, last.pk})), since=0)
    assert number(moderator, private) == 1
    remember(moderator, private, Mark(last.pk, missing=frozenset({late.pk})), since=0)
    assert number(moderator, private) == 1


def test_a_mark_of_very_many_rows_is_shortened_and_forgets_none_of_what_was_read(
    moderator: Any, private: Conversation
) -> None:
    rows = fill(private, 400)
    remember(moderator, private, Mark(0, frozenset(row.pk for row in rows)), since=0)
    assert number(moderator, private) == 0
    fill(private, 1, start=LATER)
    assert number(moderator, private) == 1


def test_deletion_by_retention_neither_makes_nor_hides_unread_messages(
    mo: Client, moderator: Any, private: Conversation
) -> None:
    fill(private, 5)
    open_page(mo, private)
    delete_older(private.pk, START + 100_000)
    assert number(moderator, private) == 0
    fill(private, 1, start=LATER)
    assert number(moderator, private) == 1


def test_a_broken_marker_makes_everything_behind_its_floor_unread(moderator: Any, private: Conversation) -> None:
    rows = fill(private, 3)
    remember(moderator, private, mark_of(private), since=0)
    ReadMarker.objects.update(mark="?", floor=rows[0].pk)
    assert number(moderator, private) == 2


def test_a_second_look_at_a_quiet_conversation_writes_nothing(
    mo: Client, moderator: Any, private: Conversation
) -> None:
    fill(private, 3)
    Message.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    open_page(mo, private)
    with CaptureQueriesContext(connection) as queries:
        open_page(mo, private)
    assert [query["sql"] for query in queries if "desk_readmarker" in query["sql"] and "INSERT" in query["sql"]] == []
    assert ReadMarker.objects.count() == 1


def test_one_look_is_one_row_and_one_statement(mo: Client, moderator: Any, private: Conversation) -> None:
    for start in (START, LATER):
        fill(private, 2, start=start)
        with CaptureQueriesContext(connection) as queries:
            open_page(mo, private)
        writes = [each["sql"] for each in queries if re.match("(INSERT|UPDATE|DELETE).*desk_readmarker", each["sql"])]
        assert len(writes) == 1
    assert ReadMarker.objects.filter(user=moderator, conversation=private).count() == 1


def test_markers_go_with_their_conversation_and_with_their_person(
    mo: Client, moderator: Any, make_user: Callable[..., Any], private: Conversation, group: Conversation
) -> None:
    other = make_user("other", "moderator")
    for user in (moderator, other):
        for conversation in (private, group):
            remember(user, conversation, Mark(), since=0)
    group.delete()
    assert set(ReadMarker.objects.values_list("user", "conversation")) == {
        (moderator.pk, private.pk),
        (other.pk, private.pk),
    }
    other.delete()
    assert set(ReadMarker.objects.values_list("user", "conversation")) == {(moderator.pk, private.pk)}
