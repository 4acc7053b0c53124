"""A conversation's page: what it shows, what it asks GoEasy, and what it never does."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from moderation.accounts.models import Pseudonym
from moderation.applications.models import Application
from moderation.archive import timeline
from moderation.archive.ingest import ingest
from moderation.archive.models import Conversation, Message
from moderation.desk.views import selection
from moderation.goeasy.client import Group, Private
from recall.models import Recall, RecallItem, RecallReason
from tests.markup import markup
from tests.outbox.calls import make_batch

START = 1795000000000
HTMX = {"HX-Request": "true"}


@pytest.fixture
def mo(client: Client, moderator: Any) -> Client:
    client.force_login(moderator)
    return client


def fill(conversation: Conversation, count: int, *, start: int = START, **fields: Any) -> list[Message]:
    """`count` messages, a second apart, from three senders in turn."""
    raws = [
        json.dumps(
            {
                "type": "text",
                "messageId": f"{start}-{number}",
                "timestamp": start + number * 1000,
                "senderId": f"user-{number % 3}",
                "senderData": {"name": f"Name {number % 3}"},
                "payload": {"text": f"大家好, this is number {number}"},
                **fields,
            }
        )
        for number in range(count)
    ]
    ingest(conversation, raws)
    return list(Message.objects.filter(conversation=conversation).order_by("timestamp", "id"))


def recall_of(message: Message, actor: Any, reason: RecallReason, state: str) -> Recall:
    """A recall of one message whose only batch is in `state`."""
    recall = Recall.objects.create(
        application=message.conversation.application, conversation=message.conversation, actor=actor, reason=reason
    )
    batch = make_batch(recall, state=state)
    RecallItem.objects.create(recall=recall, batch=batch, position=0, timestamp=message.timestamp)
    return recall


def address(conversation: Conversation, tail: str = "") -> str:
    return f"/conversations/{conversation.pk}/{tail}"


def page(client: Client, conversation: Conversation, query: str = "", **extra: Any) -> str:
    response = client.get(address(conversation) + query, **extra)
    assert response.status_code == 200
    return markup(response)


def shown(html: str) -> list[int]:
    """The timestamps of the rows, in the page's order."""
    return [int(ms) for ms in re.findall(r'data-timestamp="(\d+)"', html)]


def history(sandbox: Any, conversation: Conversation, count: int, *, start: int = START) -> None:
    """`count` messages that GoEasy knows of the conversation and the archive does not."""
    sandbox.add_messages(
        conversation.for_audit(),
        [
            {"type": "text", "timestamp": start + number, "senderId": "user-a", "payload": {"text": f"from {number}"}}
            for number in range(count)
        ],
    )


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
    assert f'class="message at" tabindex="-1" data-timestamp="{at}"' in html
    assert 'name="before"' in html
    assert 'name="after"' in html


def test_times_are_in_the_moderator_s_zone_and_the_zone_is_named(
    client: Client, make_user: Callable[..., Any], private: Conversation
) -> None:
    fill(private, 1)
    client.force_login(make_user("wang", "moderator", timezone="Asia/Shanghai"))
    html = page(client, private)
    assert "Asia/Shanghai (UTC+08:00)" in html
    assert 'title="UTC 2026-11-18 11:06:40.000">19:06:40.000</time>' in html


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
    assert "No message is known here." in html
    assert "This is as far as GoEasy’s history and the archive reach." in html


def test_a_history_that_could_not_be_read_is_not_called_empty(mo: Client, private: Conversation) -> None:
    html = page(mo, private)
    assert "No message is known here." not in html
    assert "The archive has no message here." in html
    assert "GoEasy may know more." in html


def tell_in_other_forms(sandbox: Any, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], Any]) -> None:
    """Let GoEasy's history tell each message as `change` has it."""
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
        assert "No message is known here." not in html
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


# What people write is text


HOSTILE = [
    {"type": "text", "payload": {"text": "<script>alert(1)</script><img src=x onerror=alert(2)>"}},
    {"type": "text", "payload": {"text": "{{ 7|add:7 }}{% now 'Y' %}"}},
    {"type": "text", "payload": {"text": "a\u202egnp.exe\x00\x1b[31m\ud800"}},
    {"type": "text", "payload": {"text": "😀" * 750}},
    {"type": "text", "payload": ["<script>alert(3)</script>"]},
    {"type": "<script>alert(4)</script>", "payload": {"<script>": "</script>"}},
    {"type": "image", "payload": {"url": "javascript:alert(5)", "name": '"><script>alert(6)</script>'}},
    {"type": "image", "payload": {"url": 'https://x.example/"onerror="alert(7)'}},
    {"type": "video", "payload": {"video": "no"}},
    {"type": None, "senderData": {"name": "<script>alert(8)</script>", "avatar": "javascript:alert(9)"}},
    {"type": "text", "senderId": '"><script>alert(10)</script>', "payload": {"text": "x"}},
    {"type": "text", "recalled": True, "recaller": {"id": "<script>alert(11)</script>\ud83d"}, "payload": "x"},
]


def test_hostile_content_is_shown_as_text(mo: Client, private: Conversation) -> None:
    base = {"senderId": "user-a", "payload": {"text": "x"}}
    ingest(
        private,
        [json.dumps({**base, "timestamp": START + n, "messageId": str(n), **each}) for n, each in enumerate(HOSTILE)],
    )
    html = page(mo, private)
    assert len(shown(html)) == len(HOSTILE)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{ 7|add:7 }}" in html
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"<[^>]*\son\w+=", html) == []
    assert 'href="javascript' not in html
    assert "\u202e" not in html


@pytest.mark.parametrize("value", [r'"half \ud83d a pair"', "[" * 2_000 + "]" * 2_000], ids=["half a pair", "deep"])
@pytest.mark.parametrize("member", ["payload", "recaller", "senderData", ""])
def test_a_hostile_message_does_not_slow_the_page(mo: Client, private: Conversation, member: str, value: str) -> None:
    first, *_others = fill(private, 3)
    raw = f'{{"type": "text", "recaller": {{"data": {value}}}, "{member}": {value}}}' if member else value
    Message.objects.filter(pk=first.pk).update(raw=raw, recalled=True, recalled_raw=raw)
    assert len(shown(page(mo, private))) == 3
    assert Message.objects.get(pk=first.pk).recaller in ({}, {"data": json.loads(value) if "half" in value else value})


def test_nothing_is_fetched_from_elsewhere_before_a_click(mo: Client, private: Conversation, settings: Any) -> None:
    settings.MEDIA_ORIGINS = ["https://files.example.com"]
    payload = {"url": "https://files.example.com/cat.png", "name": "cat.png", "size": 48_000}
    fill(private, 1, type="image", payload=payload, senderData={"name": "A", "avatar": "https://files.example.com/a"})
    html = page(mo, private)
    assert re.findall(r'<(?:img|audio|video|iframe|source|link|script)[^>]*(?:src|href)="(?!/static/)', html) == []
    assert 'data-media="image" data-url="https://files.example.com/cat.png"' in html
    assert 'rel="noopener noreferrer"' in html


def test_media_of_another_origin_is_only_linked_and_an_admin_is_led_to_where_it_is_allowed(
    mo: Client, private: Conversation, administrator: Any
) -> None:
    fill(private, 1, type="image", payload={"url": "https://files.example.com/cat.png"})
    html = page(mo, private)
    assert "data-media=" not in html
    assert "files.example.com is not among the hosts that are allowed." in html
    assert "An admin can allow it." in html
    assert "/admin/" not in html
    fill(private, 1, start=START + 10_000, type="image", payload={"url": "http://plain.example.com/cat.png"})
    assert "It could be only if it were https." in page(mo, private)
    mo.force_login(administrator)
    assert f'"/admin/applications/application/{private.application_id}/change/#id_media_origins"' in page(mo, private)


def test_an_applications_own_hosts_are_allowed_on_its_pages_and_on_no_other(
    mo: Client, private: Conversation, settings: Any
) -> None:
    settings.MEDIA_ORIGINS = ["https://everywhere.example.com"]
    other = Application.objects.create(slug="other", name="Other", media_origins="https://files.example.com:8443")
    theirs = Conversation.objects.open(other, Group("g"))
    for conversation in (private, theirs):
        fill(conversation, 1, type="image", payload={"url": "https://files.example.com:8443/cat.png"})
    assert "data-media=" not in page(mo, private)
    assert "data-media=" in page(mo, theirs)

    def policy(address: str) -> dict[str, list[str]]:
        parts = (part.split() for part in mo.get(address).headers["Content-Security-Policy"].split(";"))
        return {name: origins for name, *origins in parts}

    both = ["https://everywhere.example.com", "https://files.example.com:8443"]
    assert policy(theirs.get_absolute_url())["img-src"] == ["'self'", "data:", *both]
    assert policy(theirs.get_absolute_url())["media-src"] == ["'self'", *both]
    assert policy(private.get_absolute_url())["img-src"] == ["'self'", "data:", both[0]]
    assert policy("/conversations/")["img-src"] == ["'self'", "data:"]


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
    assert len(few) <= 20


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


# GoEasy's history


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


# News


def news(client: Client, conversation: Conversation, query: str) -> Any:
    return client.get(address(conversation, f"news/{query}"), headers=HTMX)


def mark_in(html: str) -> str:
    """What the page, or the part of it, has seen."""
    match = re.search(r'id="mark" value="([^"]*)"', html)
    assert match
    return match[1]


def announced(client: Client, conversation: Conversation, html: str, query: str = "") -> tuple[int, str]:
    """How many messages are new to a page that is `html`; and the page's next mark."""
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
    assert f'data-place="{START + 1500}" data-day="2026-11-18"' in part
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
    assert "this one cannot be recalled" in part
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
