"""A conversation's page: what it shows, to whom, and what it costs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from moderation.archive.ingest import ingest
from moderation.archive.models import Conversation, Message
from moderation.goeasy.client import Private
from recall.models import RecallReason
from tests.desk.conversations import HTMX, START, address, fill, history, page, recall_of, shown
from tests.markup import markup

# What it shows


def test_it_shows_the_newest_messages_oldest_first(mo: Client, private: Conversation) -> None:
    messages = fill(private, 70)
    assert shown(page(mo, private)) == [message.timestamp for message in messages[-60:]]


def test_older_messages_are_one_link_away(mo: Client, private: Conversation) -> None:
    messages = fill(private, 70)
    key = f"{messages[10].timestamp}-{messages[10].pk}"
    assert f'name="before" value="{key}"' in page(mo, private)
    older = page(mo, private, f"?before={key}")
    assert shown(older) == [message.timestamp for message in messages[:10]]
    assert f'name="after" value="{messages[9].timestamp}-{messages[9].pk}"' in older


def test_with_htmx_only_the_rows_come(mo: Client, private: Conversation) -> None:
    messages = fill(private, 70)
    part = page(mo, private, f"?before={messages[10].timestamp}-{messages[10].pk}", headers=HTMX)
    assert "<html" not in part
    assert len(shown(part)) == 10
    assert 'id="news"' not in part


def test_a_message_can_be_shown_among_its_neighbours(mo: Client, private: Conversation) -> None:
    messages = fill(private, 200)
    at = messages[100].timestamp
    html = page(mo, private, f"?at={at}")
    assert shown(html) == [message.timestamp for message in messages[70:130]]
    assert f'class="message at" data-id="{messages[100].pk}" data-timestamp="{at}"' in html
    assert 'name="before"' in html
    assert 'name="after"' in html


def test_times_are_in_the_moderator_s_zone_and_the_zone_is_named(
    client: Client, make_user: Callable[..., Any], private: Conversation
) -> None:
    fill(private, 1)
    client.force_login(make_user("wang", "moderator", timezone="Asia/Shanghai"))
    html = page(client, private)
    assert "Asia/Shanghai (UTC+08:00)" in html
    assert 'title="2026-11-18 19:06:40.000 UTC+08:00 · 1795000000000">19:06</time>' in html


def test_days_are_separated_by_the_moderator_s_day(mo: Client, private: Conversation) -> None:
    fill(private, 3, start=START)
    fill(private, 2, start=START + 24 * 3600 * 1000)
    assert re.findall(r'class="day" data-day="([\d-]+)"', page(mo, private)) == ["2026-11-18", "2026-11-19"]


def test_two_messages_of_one_millisecond_are_pointed_out(
    mo: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    make_message(private, START)
    make_message(private, START, senderId="user-b")
    make_message(private, START + 1)
    html = page(mo, private)
    assert html.count("2 messages at this millisecond") == 2
    assert html.count('data-count="2"') == 2


def test_a_recalled_message_says_by_whom_and_cannot_be_ticked(
    mo: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    make_message(private, START, recalled=True, recaller={"id": "s-1", "data": {"name": "<b>Support</b>"}})
    html = page(mo, private)
    assert "&lt;b&gt;Support&lt;/b&gt; · s-1" in html
    assert re.search(r"<input type=\"checkbox\"[^>]*disabled", html)
    assert "Recalled already: it cannot be selected." in html


@pytest.mark.parametrize(
    ("state", "may_be_ticked"),
    [("pending", False), ("sending", False), ("accepted", True), ("unknown", True), ("refused", True)],
)
def test_a_message_links_to_our_recall_of_it(
    mo: Client, moderator: Any, reason: RecallReason, private: Conversation, state: str, may_be_ticked: bool
) -> None:
    (message,) = fill(private, 1)
    recall = recall_of(message, moderator, reason, state)
    html = page(mo, private)
    assert f'<a class="pill {state}" href="/recalls/{recall.pk}/">' in html
    assert bool(re.search(r"<input type=\"checkbox\"[^>]*disabled", html)) is not may_be_ticked


def test_the_latest_of_several_recalls_is_shown(
    mo: Client, moderator: Any, reason: RecallReason, private: Conversation
) -> None:
    (message,) = fill(private, 1)
    recall_of(message, moderator, reason, "unknown")
    latest = recall_of(message, moderator, reason, "accepted")
    assert re.findall(r'<a class="pill \w+" href="/recalls/([\w-]+)/">', page(mo, private)) == [str(latest.pk)]


def test_the_conversation_s_recalls_are_beside_it(
    mo: Client, moderator: Any, reason: RecallReason, private: Conversation, group: Conversation
) -> None:
    (message,) = fill(private, 1)
    recall = recall_of(message, moderator, reason, "accepted")
    assert f'data-submission="{recall.submission}"' in page(mo, private)
    assert "data-submission" not in page(mo, group)


def test_an_empty_conversation_says_so(mo: Client, private: Conversation, connected: Any) -> None:
    html = page(mo, private)
    assert "No messages here." in html
    assert "This is as far as GoEasy’s history and the archive reach." in html


def test_a_history_that_could_not_be_read_is_not_called_empty(mo: Client, private: Conversation) -> None:
    html = page(mo, private)
    assert "No messages here." not in html
    assert "No messages in the archive here." in html
    assert "GoEasy may know more." in html


def tell_in_other_forms(sandbox: Any, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the form of each message in GoEasy's history with `change`."""
    original = sandbox.history
    monkeypatch.setattr(sandbox, "history", lambda query: (200, [change(each) for each in original(query)[1]]))


def abbreviated(message: dict[str, Any]) -> dict[str, Any]:
    """A message as the SDK has it on the wire."""
    return {"ts": message["timestamp"], "s": message["senderId"], "mt": "text", "p": "{}", "i": "m"}


def test_messages_that_cannot_be_read_are_counted_and_history_is_not_said_to_end(
    client: Client,
    make_user: Any,
    private: Conversation,
    connected: Any,
    sandbox: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history(sandbox, private, 12)
    tell_in_other_forms(sandbox, monkeypatch, abbreviated)
    slug = private.application.slug
    raw_texts = f"/admin/ingestion/unreadablemessage/?ids=user-a%20%E2%86%94%20user-b&amp;app={slug}"
    for role in ("moderator", "admin"):
        client.force_login(make_user(f"a {role}", role))
        html = page(client, private)
        assert "<strong>12 messages could not be read.</strong>" in html
        assert "This is as far as GoEasy’s history" not in html
        assert "No messages here." not in html
        assert "GoEasy may know more." in html
        assert 'name="before"' not in html, "there is nothing to go on from"
        assert (raw_texts in html) == (role == "admin")
    assert "user-a ↔ user-b" in markup(client.get(raw_texts.replace("&amp;", "&")))


def test_one_message_that_cannot_be_read_does_not_hide_the_others(
    mo: Client, private: Conversation, connected: Any, sandbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(sandbox, private, 75)
    tell_in_other_forms(
        sandbox, monkeypatch, lambda each: abbreviated(each) if each["timestamp"] == START + 50 else each
    )
    html = page(mo, private)
    assert "<strong>1 message could not be read.</strong>" in html
    assert len(shown(html)) == 60
    (key,) = re.findall(r'name="before" value="([\d-]+)"', html)
    older = page(mo, private, f"?before={key}", headers=HTMX)
    assert len(shown(older)) == 14
    assert "This is as far as GoEasy’s history and the archive reach." in older


def test_a_short_page_does_not_end_the_timeline(
    mo: Client, private: Conversation, connected: Any, sandbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(sandbox, private, 75)
    original = sandbox.history
    monkeypatch.setattr(sandbox, "history", lambda query: (200, original(query)[1][:20]))
    seen = shown(html := page(mo, private))
    while older := re.findall(r'name="before" value="([\d-]+)"', html):
        assert "This is as far as GoEasy’s history" not in html
        html = page(mo, private, f"?before={older[0]}", headers=HTMX)
        seen = shown(html) + seen
    assert seen == [START + number for number in range(75)]
    assert "This is as far as GoEasy’s history and the archive reach." in html


def test_a_type_of_the_app_s_own_shows_what_is_to_be_read_and_its_json_on_demand(
    mo: Client, private: Conversation
) -> None:
    fill(private, 1, type="order", payload={"id": "D-9917", "name": "夏季 T 恤", "price": "79"})
    html = page(mo, private)
    assert '<div class="text" dir="auto">夏季 T 恤</div>' in html
    whole = re.search('<details class="whole">.*?</details>', html, re.DOTALL)
    assert whole
    assert "D-9917" in whole[0]
    assert "D-9917" not in html.replace(whole[0], "")


def test_a_message_that_was_recalled_before_it_was_read_shows_no_json(mo: Client, private: Conversation) -> None:
    raw = {"type": "text", "messageId": "s1", "timestamp": START, "senderId": "user-a", "recalled": True}
    ingest(private, [json.dumps({**raw, "recaller": {"id": "user-a", "data": {"name": "小雨"}}})])
    html = page(mo, private)
    assert "Text not known" in html
    assert "小雨 · user-a" in html
    assert "messageId" not in html


def test_an_unknown_conversation_returns_404(mo: Client) -> None:
    assert mo.get("/conversations/987654/").status_code == 404


@pytest.mark.parametrize("query", ["?before=x", "?after=-", "?at=now", "?before=" + "9" * 400, "?after=9-9-9"])
def test_a_malformed_query_string_shows_the_newest_messages(mo: Client, private: Conversation, query: str) -> None:
    fill(private, 3)
    assert len(shown(page(mo, private, query))) == 3


# What it costs


def test_sixty_messages_take_as_many_queries_as_five(
    mo: Client, moderator: Any, reason: RecallReason, private: Conversation
) -> None:
    other = Conversation.objects.open(private.application, Private("user-a", "user-c"))
    for conversation, count in ((private, 5), (other, 60)):
        for message in fill(conversation, count):
            recall_of(message, moderator, reason, "accepted")
    with CaptureQueriesContext(connection) as few:
        assert len(shown(page(mo, private))) == 5
    with CaptureQueriesContext(connection) as many:
        assert len(shown(page(mo, other))) == 60
    assert len(many) == len(few)
    assert len(few) <= 31


def test_the_first_screen_of_two_thousand_messages_is_small(mo: Client, group: Conversation) -> None:
    fill(group, 2_000)
    assert len(page(mo, group).encode()) < 150_000


def test_sixty_images_with_very_long_addresses_do_not_fill_the_page(mo: Client, group: Conversation) -> None:
    url = "https://files.example.com/".ljust(2_900, "a")
    fill(group, 60, type="image", payload={"url": url})
    html = page(mo, group)
    assert len(shown(html)) == 60
    assert url not in html
    assert len(html.encode()) < 150_000


def test_no_query_counts_or_skips_through_the_archive(mo: Client, group: Conversation) -> None:
    fill(group, 70)
    with CaptureQueriesContext(connection) as queries:
        page(mo, group)
    statements = [query["sql"] for query in queries if "archive_message" in query["sql"]]
    assert statements
    assert [sql for sql in statements if "OFFSET" in sql or "COUNT(*)" in sql or "DISTINCT" in sql] == []


# Who


def test_an_auditor_sees_everything_and_can_select_nothing(client: Client, auditor: Any, private: Conversation) -> None:
    fill(private, 70)
    client.force_login(auditor)
    html = page(client, private)
    assert len(shown(html)) == 60
    assert 'name="timestamps"' not in html
    assert "recall-form" not in html
    assert re.search(r'<a class="button" href="\?before=', html)
    assert client.get(address(private, "messages/?sender=user-1")).status_code == 403
    assert client.get(address(private, "news/?after=0-0")).status_code == 200


@pytest.mark.parametrize("tail", ["", "news/", "messages/"])
def test_an_anonymous_visitor_is_sent_to_the_sign_in_page(client: Client, private: Conversation, tail: str) -> None:
    response = client.get(address(private, tail))
    assert response.status_code == 302
    assert response["Location"].startswith("/accounts/login/")


def test_no_key_is_on_the_page(mo: Client, private: Conversation) -> None:
    fill(private, 3)
    assert "BC-0123456789abcdef" not in page(mo, private)
