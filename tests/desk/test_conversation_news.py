"""New messages on an open conversation's page."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from moderation.applications.models import Application
from moderation.archive import timeline
from moderation.archive.models import Conversation, Message
from tests.desk.conversations import HTMX, START, address, fill, history, page, shown
from tests.markup import markup


def news(client: Client, conversation: Conversation, query: str) -> Any:
    return client.get(address(conversation, f"news/{query}"), headers=HTMX)


def mark_in(html: str) -> str:
    """The mark of a page or fragment: the newest message that it shows."""
    match = re.search(r'id="mark" value="([^"]*)"', html)
    assert match
    return match[1]


def announced(client: Client, conversation: Conversation, html: str, query: str = "") -> tuple[int, str]:
    """Number of new messages for the page `html`, and its next mark."""
    html = markup(news(client, conversation, f"?mark={mark_in(html)}{query}"))
    count = re.search(r"(\d+) new message", html)
    return int(count[1]) if count else 0, mark_in(html)


def test_a_message_that_arrives_late_is_announced_and_comes_to_its_place(
    mo: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    fill(private, 3)
    html = page(mo, private)
    make_message(private, START + 1500)
    count, mark = announced(mo, private, html, f"&from={START}")
    assert count == 1
    part = page(mo, private, f"?arrived=1&mark={mark}&from={START}", headers=HTMX)
    assert shown(part) == [START + 1500]
    assert f'data-timestamp="{START + 1500}"' in part
    assert announced(mo, private, part, f"&from={START}")[0] == 0
    assert shown(page(mo, private)) == [START, START + 1000, START + 1500, START + 2000]


def test_messages_after_one_that_is_dated_ahead_are_announced(
    mo: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    make_message(private, int(timezone.now().timestamp() * 1000) + 3_600_000)
    html = page(mo, private)
    make_message(private, int(timezone.now().timestamp() * 1000))
    assert announced(mo, private, html)[0] == 1


def test_a_time_of_19_digits_is_shown_as_not_plausible_where_it_arrived(
    mo: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    bogus = 1795718732695123456
    make_message(private, START)
    html = page(mo, private)
    make_message(private, bogus)
    count, mark = announced(mo, private, html)
    assert count == 1
    part = page(mo, private, f"?arrived=1&mark={mark}", headers=HTMX)
    assert shown(part) == [bogus]
    assert f"time not plausible: {bogus}" in part
    assert "this one has none and cannot be recalled" in part
    assert re.search(r"<input type=\"checkbox\"[^>]*disabled", part)
    assert announced(mo, private, part)[0] == 0
    make_message(private, int(timezone.now().timestamp() * 1000) + 1000)
    assert announced(mo, private, part)[0] == 1
    html = page(mo, private)
    assert shown(html)[:2] == [START, bogus]
    assert len(shown(html)) == 3
    assert "<time" in html
    assert "58873" not in html


def test_a_message_without_a_plausible_time_is_shown_where_it_arrived(
    mo: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    message = make_message(private, 1795718732695123456)
    html = page(mo, private, f"?at={message.sort_time}")
    assert 'class="message at"' in html


def test_messages_loaded_by_turning_pages_are_not_news(
    mo: Client, connected: Application, sandbox: Any, private: Conversation
) -> None:
    history(sandbox, private, 300)
    html = page(mo, private)
    older = re.search(r'name="before" value="([\d-]+)"', html)
    assert older
    first = shown(html)[0]
    part = page(mo, private, f"?before={older[1]}&mark={mark_in(html)}&from={first}", headers=HTMX)
    assert len(shown(part)) == 60
    assert announced(mo, private, part, f"&from={shown(part)[0]}")[0] == 0


def test_news_that_waits_while_pages_are_turned_is_still_announced(
    mo: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    messages = fill(private, 70)
    html = page(mo, private)
    make_message(private, START + 30_500)
    key = timeline.key_of(messages[10])
    part = page(mo, private, f"?before={key}&mark={mark_in(html)}&from={START + 10_000}", headers=HTMX)
    assert len(shown(part)) == 10
    assert announced(mo, private, part, f"&from={START}")[0] == 1


def test_a_page_looks_for_news_with_as_many_queries_however_much_there_is(
    mo: Client, private: Conversation, group: Conversation
) -> None:
    numbers = []
    for conversation, count in ((private, 1), (group, 80)):
        html = page(mo, conversation)
        fill(conversation, count)
        with CaptureQueriesContext(connection) as queries:
            assert announced(mo, conversation, html)[0] == count
        numbers.append(len(queries))
    assert numbers[0] == numbers[1]


def test_new_messages_are_announced_and_not_pushed(
    mo: Client, connected: Application, sandbox: Any, private: Conversation
) -> None:
    history(sandbox, private, 5)
    html = page(mo, private)
    history(sandbox, private, 3, start=START + 100)
    Conversation.objects.update(history_read_at=timezone.now() - timedelta(seconds=20))
    answer = markup(news(mo, private, f"?mark={mark_in(html)}"))
    assert "3 new messages – show" in answer
    assert shown(answer) == []
    part = page(mo, private, f"?arrived=1&mark={mark_in(answer)}", headers=HTMX)
    assert shown(part) == [START + 100, START + 101, START + 102]
    assert 'id="news"' in part


def test_history_is_read_at_most_once_in_ten_seconds(
    mo: Client, connected: Application, sandbox: Any, private: Conversation
) -> None:
    history(sandbox, private, 5)
    page(mo, private)
    before = len(sandbox.calls("history"))
    for _time in range(3):
        news(mo, private, "?mark=0..")
    assert len(sandbox.calls("history")) == before
    Conversation.objects.update(history_read_at=timezone.now() - timedelta(seconds=11))
    news(mo, private, "?mark=0..")
    assert len(sandbox.calls("history")) == before + 1


def test_who_comes_back_after_a_while_misses_nothing(
    mo: Client, connected: Application, sandbox: Any, private: Conversation
) -> None:
    history(sandbox, private, 5)
    page(mo, private)
    history(sandbox, private, 150, start=START + 1000)
    Conversation.objects.update(history_read_at=timezone.now() - timedelta(hours=1))
    news(mo, private, "?mark=0..")
    assert Message.objects.filter(conversation=private).count() == 155


def test_polling_answers_204_while_the_page_is_up_to_date(mo: Client, private: Conversation) -> None:
    fill(private, 2)
    answer = news(mo, private, "?mark=0..")
    seen = re.search(r'name="seen" value="([^"]+)"', markup(answer))
    assert seen
    assert news(mo, private, f"?mark=0..&seen={seen[1]}").status_code == 204
