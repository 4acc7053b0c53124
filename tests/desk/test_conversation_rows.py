"""The rows of the lists of conversations: their newest message in one line, and what needs somebody."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation

from moderation.applications.models import Application
from moderation.archive.erasure import erase_messages
from moderation.archive.ingest import ingest
from moderation.archive.models import Conversation, Message
from moderation.desk.conversation_rows import Row, initials, rows_of
from moderation.goeasy.client import Group, Private
from recall.models import Recall
from tests.desk.conversations import START, fill
from tests.markup import markup

LISTS = ["/conversations/", "/conversations/?q=user-a", "/conversations/?kind=private", "/"]


def row(user: Any, conversation: Conversation) -> Row:
    (only,) = rows_of(user, [Conversation.objects.select_related("application").get(pk=conversation.pk)])
    return only


def line(user: Any, conversation: Conversation) -> str:
    """The snippet as a person reads it."""
    snippet = row(user, conversation).snippet
    assert snippet
    return f"{snippet.sender}: " + (f"[{snippet.label}] " if snippet.label else "") + snippet.text


def say(conversation: Conversation, number: int = 0, **fields: Any) -> Message:
    base = {"type": "text", "senderId": "user-a", "payload": {"text": "hello"}, "messageId": f"m{number}"}
    ingest(conversation, [json.dumps({**base, "timestamp": START + number, **fields})])
    return Message.objects.get(conversation=conversation, message_id=f"m{number}")


# The newest message in one line


@pytest.mark.parametrize("address", LISTS)
def test_every_list_shows_what_was_said_last_and_by_whom(mo: Client, private: Conversation, address: str) -> None:
    say(private, 1, payload={"text": "an old one"})
    say(private, 2, payload={"text": "加我微信"}, senderData={"name": "王小明"})
    html = markup(mo.get(address))
    (snippet,) = re.findall(r'<span class="snippet">(.*?)</span>', html)
    assert re.sub("<.*?>", "", snippet) == "王小明: 加我微信"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "image", "payload": {"url": "https://x.example/cat.png", "name": "cat.png"}}, "[Picture] cat.png"),
        ({"type": "image", "payload": {"url": "https://x.example/cat.png"}}, "[Picture]"),
        ({"type": "audio", "payload": {"url": "https://x.example/a.mp3"}}, "[Audio]"),
        ({"type": "place", "payload": {"name": "Town square", "x": 1}}, "[place] Town square"),
        ({"type": "place", "payload": {"x": 1}}, '[place] { "x": 1 }'),
        ({"type": "p" * 64, "payload": "here"}, f"[{'p' * 19}…] here"),
        ({"type": None, "payload": {"text": "no type"}}, "no type"),
        ({"payload": ["no", "text"]}, '[unreadable] [ "no", "text" ]'),
        ({"payload": {"text": ""}}, "(empty)"),
        ({"payload": {"text": " \n\t"}}, "(empty)"),
        ({"payload": {"text": "one\ntwo\r\n\n three"}}, "one two three"),
        ({"recalled": True}, "recalled"),
        ({"recalled": True, "payload": ""}, "recalled"),
    ],
)
def test_every_kind_of_message_reads_well_in_one_line(
    moderator: Any, private: Conversation, fields: dict[str, Any], said: str
) -> None:
    say(private, **fields)
    assert line(moderator, private) == f"user-a: {said}"


def test_a_picture_and_what_was_recalled_read_well_in_chinese(moderator: Any, private: Conversation) -> None:
    # Whether the words are translated is another test's: nothing may be stuck to the language at import.
    from moderation.archive.messages.attachment import LABELS

    say(private, type="image", payload={"url": "https://x.example/cat.png"})
    with translation.override("zh-hans"):
        assert line(moderator, private) == f"user-a: [{LABELS['image']}]"


def test_an_erased_text_is_said_to_be_erased(moderator: Any, private: Conversation) -> None:
    erase_messages([say(private, payload={"text": "a secret"}).pk])
    assert line(moderator, private) == "user-a: text erased on request"


def test_a_message_of_nobody_has_a_dash_for_its_sender(mo: Client, private: Conversation) -> None:
    say(private, senderId=None)
    assert ">–</bdi>:" in markup(mo.get("/conversations/"))


def test_a_word_of_ten_thousand_characters_is_cut(mo: Client, moderator: Any, private: Conversation) -> None:
    say(private, payload={"text": "哈" * 10_000})
    assert len(line(moderator, private)) < 200
    assert len(mo.get("/conversations/").content) < 30_000


def test_a_message_that_is_placed_by_its_arrival_is_the_newest_one(moderator: Any, private: Conversation) -> None:
    say(private, 1, payload={"text": "in time"})
    say(private, 2, timestamp=5, payload={"text": "without a time"})
    assert line(moderator, private) == "user-a: without a time"
    assert row(moderator, private).time == Message.objects.get(message_id="m2").placed_at
    # A time in nanoseconds is not the future.
    say(private, 3, timestamp=START * 1_000_000, payload={"text": "in nanoseconds"})
    assert line(moderator, private) == "user-a: in nanoseconds"


def test_of_forty_senders_in_a_minute_the_last_one_is_shown(mo: Client, moderator: Any, group: Conversation) -> None:
    for number in range(40):
        say(group, number, senderId=f"user-{number}", payload={"text": f"number {number}"})
    assert line(moderator, group) == "user-39: number 39"


def test_a_conversation_without_a_message_says_so(mo: Client, private: Conversation) -> None:
    assert "none archived" in markup(mo.get("/conversations/"))


# Names


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("Anna Lee", "AL"),
        ("anna", "A"),
        ("王小明", "王"),
        ("王 小明", "王"),
        ("1001", "1"),
        ("🎉🎉", "🎉"),
        ("\u202egnp.exe", "GE"),
        ("g-book-club", "GB"),
        ("shop:客服/01", "S客"),
        ("مرحبا بكم", "مب"),
        ("–", "–"),
        ("\u200b", "?"),
        ("", "?"),
        ("ß", "S"),
    ],
)
def test_an_avatar_has_the_initials_of_a_name(name: str, letters: str) -> None:
    assert initials(name) == letters


@pytest.mark.parametrize("name", ["x" * 255, "王" * 255, "🎉", "\u202eevil\u202c", "مرحبا", "\u200b\u200b", "<b>&"])
@pytest.mark.parametrize("address", ["/conversations/", "/"])
def test_any_name_is_shown_as_text(mo: Client, application: Application, name: str, address: str) -> None:
    pair = Conversation.objects.open(application, Private("u-1", "u-2"))
    group = Conversation.objects.open(application, Group("g-1"))
    for conversation in (pair, group):
        say(conversation, senderId="u-1", senderData={"name": name})
    Conversation.objects.filter(pk=group.pk).update(name=name)
    html = markup(mo.get(address))
    assert len(re.findall('class="conversation-row"', html)) == 2
    assert not set(html) & {"\u202e", "\u202c", "\u200b"}
    assert "<b>&" not in html


def test_a_group_and_a_pair_have_different_avatars(mo: Client, private: Conversation, group: Conversation) -> None:
    faces = re.findall(r'class="face hue-\d( of-group)?" aria-hidden="true">\s*(\w+)<', markup(mo.get("/")))
    assert sorted(faces) == [("", "UU"), (" of-group", "G1")]


def test_the_application_is_named_only_among_several(mo: Client, private: Conversation) -> None:
    assert 'class="app"' not in markup(mo.get("/conversations/"))
    other = Application.objects.create(slug="other", name="Other")
    Conversation.objects.open(other, Group("g"))
    assert '<span class="app">Other</span>' in markup(mo.get("/conversations/"))
    assert '<span class="app">Other</span>' in markup(mo.get("/"))


# Badges


def badges(client: Client) -> list[str]:
    return re.findall(r'<span class="pill [\w-]+">(.*?)</span>', markup(client.get("/conversations/")))


@pytest.mark.parametrize(
    ("outcome", "state", "shown"),
    [
        ("unknown", "finished", ["Action needed"]),
        ("refused", "stopped", ["Action needed"]),
        ("pending", "waiting", ["Recall in progress"]),
        ("sending", "sending", ["Recall in progress"]),
        ("accepted", "finished", []),
        ("cancelled", "cancelled", []),
    ],
)
def test_a_row_says_what_its_recalls_need(
    mo: Client, make_recall: Callable[..., Recall], outcome: str, state: str, shown: list[str]
) -> None:
    make_recall([START], outcome, state=state, stop_reason="key_refused" if state == "stopped" else "")
    assert badges(mo) == shown


def test_the_worst_of_several_recalls_is_shown(mo: Client, make_recall: Callable[..., Recall]) -> None:
    make_recall([START], "pending", state="waiting")
    make_recall([START + 1], "unknown", state="finished")
    make_recall([START + 2], "sending", state="sending")
    assert badges(mo) == ["Action needed"]


def test_an_outcome_that_history_is_about_to_tell_needs_nobody(mo: Client, make_recall: Callable[..., Recall]) -> None:
    make_recall([START], "unknown", state="finished").batches.update(check_at=timezone.now())
    assert badges(mo) == ["Recall in progress"]
    assert "No such conversation" not in markup(mo.get("/conversations/?needs=action"))
    assert not mo.get("/conversations/?needs=action").context["rows"]


def test_a_hold_and_a_problem_with_history_are_shown(mo: Client, private: Conversation) -> None:
    Conversation.objects.filter(pk=private.pk).update(held_at=timezone.now(), history_problem="unreachable")
    assert badges(mo) == ["Not synced", "On hold"]


# Tabs


def test_the_tab_of_what_needs_action_counts_and_shows_only_that(
    mo: Client, make_recall: Callable[..., Recall], private: Conversation, group: Conversation
) -> None:
    assert '<span class="count none" id="needing">0</span>' in markup(mo.get("/conversations/"))
    assert "Nothing needs action." in markup(mo.get("/conversations/?needs=action"))
    make_recall([START], "unknown", state="finished")
    make_recall([START + 1], "refused", state="stopped", stop_reason="key_refused")
    html = markup(mo.get("/conversations/"))
    assert '<span class="count" id="needing">1</span>' in html
    assert [each.conversation for each in mo.get("/conversations/?needs=action").context["rows"]] == [private]
    # With a search, too; of messages nothing needs action.
    assert [each.conversation for each in mo.get("/conversations/?needs=action&q=user").context["rows"]] == [private]
    assert mo.get("/conversations/?needs=action&q=group").context["rows"] == []


def test_a_filter_of_messages_goes_before_the_tab_of_what_needs_action(mo: Client, private: Conversation) -> None:
    say(private)
    answer = mo.get("/conversations/?needs=action&sender=user-a")
    assert len(answer.context["hits"]) == 1
    (current,) = re.findall(r'aria-current="page">([\w ]+)</a>', markup(answer)[markup(answer).index("list-tabs") :])
    assert current == "All"


@pytest.mark.parametrize(
    ("query", "current"),
    [("", "All"), ("kind=group", "Groups"), ("kind=private", "Private"), ("needs=action", "Action needed")],
)
def test_the_current_tab_is_marked_and_the_others_keep_the_search(mo: Client, query: str, current: str) -> None:
    html = markup(mo.get(f"/conversations/?q=a%26b&{query}&after=5-5&before=5-5"))
    tabs = re.findall(r'<a href="([^"]*)"( aria-current="page")?>([\w ]+)', html[html.index("list-tabs") :])[:4]
    assert [name.strip() for _address, marked, name in tabs if marked] == [current]
    assert all("q=a%26b" in address and "after" not in address and "before" not in address for address, *_ in tabs)


def test_a_tab_pages_by_key(mo: Client, application: Application) -> None:
    Conversation.objects.bulk_create(
        Conversation(application=application, kind="group", group_id=f"g{number}", last_timestamp=START + number)
        for number in range(120)
    )
    Conversation.objects.bulk_create(
        Conversation(application=application, kind="private", user_a="a", user_b=f"b{number}", last_timestamp=START)
        for number in range(60)
    )
    seen, query = [], "kind=group"
    while query:
        context = mo.get(f"/conversations/?{query}").context
        seen += [each.conversation.group_id for each in context["rows"]]
        query = context["older"]
    assert seen == [f"g{number}" for number in reversed(range(120))]


# The left pane


def test_the_pane_beside_a_conversation_marks_it(mo: Client, private: Conversation, group: Conversation) -> None:
    fill(group, 2)
    html = markup(mo.get(f"/conversations/{private.pk}/"))
    pane = html[html.index('class="recent"') : html.index("</aside>")]
    assert re.findall(r'href="([^"]*)" class="conversation-row"( aria-current="page")?', pane) == [
        (f"/conversations/{group.pk}/", ""),
        (f"/conversations/{private.pk}/", ' aria-current="page"'),
    ]
    assert "this is number 1" in pane
