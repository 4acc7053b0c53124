"""What the palette (Ctrl-K) answers, and the page with the same results."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import translation
from pytest_django import DjangoAssertNumQueries

from moderation.applications.models import Application
from moderation.archive.models import Conversation, Message
from moderation.audit.models import Action, AuditEntry
from moderation.desk import palette
from moderation.goeasy.client import Group, Private
from moderation.search import people, query
from recall.models import Recall, Sweep
from tests.desk.conversations import HTMX
from tests.markup import markup

FIRST = 1_700_000_000_000
Make = Callable[..., Message]


def answer_to(client: Client, text: str) -> Any:
    """The palette's answer."""
    answer = client.get(reverse("jump"), {"q": text}, headers=HTMX)
    assert answer.status_code == 200
    return answer


def addresses(client: Client, text: str) -> dict[str, list[str]]:
    """The addresses of the results, by group, in the palette's order."""
    groups = answer_to(client, text).context["results"].groups
    return {group.name: [line.address for line in group.lines] for group in groups}


def sender(user_id: str) -> str:
    return f"{reverse('sender', args=['default'])}?{urlencode({'id': user_id})}"


def searches() -> list[dict[str, Any]]:
    """What the audit log has of searches."""
    entries = AuditEntry.objects.filter(action=Action.SEARCHED).order_by("pk")
    return [{"page": entry.detail["page"], **json.loads(entry.private.content)["asked"]} for entry in entries]


# What is found


def test_a_name_finds_the_person_the_conversations_and_the_messages(
    mo: Client, group: Conversation, private: Conversation, make_message: Make
) -> None:
    make_message(private, FIRST, senderId="user-a", senderData={"name": "王小明"})
    make_message(group, FIRST + 1, senderId="u-2", payload={"text": "ask 王小明 about it"})
    for is_indexed in (False, True):
        assert not is_indexed or people.index_names()
        results = addresses(mo, "小明")
        assert results["people"] == [sender("user-a")]
        assert results["conversations"] == [private.get_absolute_url()]
        assert results["messages"] == [f"{group.get_absolute_url()}?at={FIRST + 1}"]
    assert "<mark>小明</mark>" in markup(answer_to(mo, "小明"))


def test_a_group_is_found_by_a_part_of_its_name_or_id(mo: Client, group: Conversation, make_message: Make) -> None:
    make_message(group, FIRST, groupId="group-1", groupData={"name": "Night Owls"})
    for text in ("night", "owls", "ＮＩＧＨＴ", "oup-1", "GROUP"):
        assert addresses(mo, text)["conversations"] == [group.get_absolute_url()], text


def test_a_group_id_finds_the_group_whatever_its_age(
    mo: Client, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(palette, "MAX_CONVERSATIONS", 0)
    assert addresses(mo, "group-1")["conversations"] == [group.get_absolute_url()]
    assert "conversations" not in addresses(mo, "group")


@pytest.mark.parametrize("text", ["user-a/user-b", "user-b / user-a", "c/d/a/b"])
def test_two_ids_find_their_conversation(mo: Client, private: Conversation, text: str) -> None:
    with_slashes = Conversation.objects.open(private.application, Private("a/b", "c/d"))
    expected = with_slashes if text.startswith("c") else private
    assert next(iter(addresses(mo, text).items())) == ("conversations", [expected.get_absolute_url()])


def test_a_part_of_an_id_finds_the_person(mo: Client, group: Conversation, make_message: Make) -> None:
    make_message(group, FIRST, senderId="u-1011", senderData={"name": "Ann"})
    assert addresses(mo, "1011")["people"] == [sender("u-1011")]


def test_the_whole_name_of_a_person_comes_first(mo: Client, group: Conversation, make_message: Make) -> None:
    make_message(group, FIRST, senderId="u-1", senderData={"name": "Annabel"}, groupData={"name": "ann & co"})
    make_message(group, FIRST + 1, senderId="u-2", senderData={"name": "Ann"}, groupId="group-1")
    results = addresses(mo, "ann")
    assert next(iter(results)) == "people"
    assert results["people"] == [sender("u-2"), sender("u-1")]


def test_a_person_is_found_by_the_name_that_a_sweep_has_kept(
    mo: Client, group: Conversation, make_message: Make, moderator: Any
) -> None:
    make_message(group, FIRST, senderId="u-1", senderData={"name": "Honest Joe"})
    sweep = Sweep.objects.create(
        application=group.application, sender_id="u-1", sender_name="稳赚小助手", since=1, until=2, actor=moderator
    )
    results = addresses(mo, "稳赚")
    assert results["people"] == [sender("u-1")]
    assert results["recalls"] == [sweep.get_absolute_url()]
    assert 'earlier <bdi><span translate="no">稳赚小助手' in markup(answer_to(mo, "稳赚"))
    assert addresses(mo, "joe")["recalls"] == [sweep.get_absolute_url()]


def test_a_message_is_found_by_its_id_and_by_its_timestamp(
    mo: Client, private: Conversation, make_message: Make
) -> None:
    make_message(private, FIRST, messageId="m-1")
    place = f"{private.get_absolute_url()}?at={FIRST}"
    for text in ("m-1", str(FIRST)):
        assert next(iter(addresses(mo, text).items())) == ("messages", [place])


def test_one_character_is_not_looked_for_in_messages(mo: Client, group: Conversation, make_message: Make) -> None:
    make_message(group, FIRST, payload={"text": "微信 x"})
    assert "messages" not in addresses(mo, "微")
    assert "messages" not in addresses(mo, " \u200b微 ")
    assert len(addresses(mo, "微信")["messages"]) == 1


def test_a_recall_is_found_by_its_id_and_by_the_beginning_of_it(
    mo: Client, group: Conversation, moderator: Any, reason: Any
) -> None:
    ids = uuid.UUID("0a1b2c3d-ffff-4fff-8fff-ffffffffffff"), uuid.UUID("ffffffff-ffff-4fff-8fff-ffffffffffff")
    made: dict[str, Any] = {"application": group.application, "actor": moderator}
    recall = Recall.objects.create(id=ids[0], conversation=group, reason=reason, **made)
    sweep = Sweep.objects.create(id=ids[1], sender_id="u-1", since=1, until=2, **made)
    for text in ("0a1b2c3d", "0A1B2C3D-ff", str(recall.pk), recall.pk.hex):
        assert next(iter(addresses(mo, text).items())) == ("recalls", [recall.get_absolute_url()]), text
    assert addresses(mo, "ffffffff")["recalls"] == [sweep.get_absolute_url()]
    for text in ("0a1b2c3", "0a1b2c3e", "f" * 33, "0a1b2c3d-gg"):
        assert "recalls" not in addresses(mo, text), text


def test_a_recall_is_found_by_a_timestamp_and_by_its_conversation(
    mo: Client, make_recall: Callable[..., Recall]
) -> None:
    recall = make_recall([FIRST])
    assert addresses(mo, str(FIRST))["recalls"] == [recall.get_absolute_url()]
    conversation = recall.conversation
    text = conversation.group_id or f"{conversation.user_a}/{conversation.user_b}"
    assert addresses(mo, text)["recalls"] == [recall.get_absolute_url()]


@pytest.mark.parametrize(
    ("language", "text", "route"),
    [
        ("en", "new rec", "recall-new"),
        ("en", "TIMESTAMPS recall", "recall-new"),
        ("en", "sweep", "sweep-new"),
        ("en", "feed", "feed"),
        ("zh-hans", "会话", "conversations"),
        ("zh-hans", "偏好", "preferences"),
    ],
)
def test_an_action_is_found_by_its_words_as_shown(
    mo: Client, moderator: Any, language: str, text: str, route: str
) -> None:
    moderator.language = language
    moderator.save()
    with translation.override(language):
        assert reverse(route) in addresses(mo, text)["actions"]


def test_without_text_all_actions_are_offered_and_nothing_is_recorded(mo: Client, group: Conversation) -> None:
    results = addresses(mo, "  ")
    assert list(results) == ["actions"]
    assert {reverse("home"), reverse("recall-new"), reverse("logout")} <= set(results["actions"])
    assert searches() == []


def test_signing_out_is_a_button_of_the_form_for_it(mo: Client) -> None:
    page = markup(answer_to(mo, "sign out"))
    assert '<button type="submit" form="sign-out"' in page
    assert f'href="{reverse("logout")}"' not in page


def test_a_conversation_that_only_goeasy_may_have_is_offered_to_open(mo: Client, group: Conversation) -> None:
    page = markup(answer_to(mo, "x&y/z"))
    assert "?kind=private&amp;user_a=x%26y&amp;user_b=z" in page
    assert "?kind=group&amp;group_id=x%26y%2Fz" in page
    assert "opening" not in addresses(mo, "group-1")


# How much


def test_five_of_a_kind_are_shown_and_the_last_line_leads_to_all(
    mo: Client, application: Application, make_message: Make
) -> None:
    for number in range(9):
        group = Conversation.objects.open(application, Group(f"club-{number}"))
        make_message(group, FIRST + number, senderId=f"club-u{number}", payload={"text": f"club {number}"})
    results = answer_to(mo, "club").context["results"]
    assert {group.name: len(group.lines) for group in results.groups} == {"conversations": 5, "messages": 5} | {
        group.name: len(group.lines) for group in results.groups if group.name in {"people", "opening"}
    }
    address = "/conversations/?q=club"
    assert [group.more for group in results.groups if group.name in {"conversations", "messages"}] == [address] * 2
    page = markup(answer_to(mo, "club"))
    assert page.count(f'href="{address}"') == 2
    assert "All results" in page
    # The newest come first.
    assert results.groups[0].lines[0].thing.group_id == "club-8"


def test_a_search_that_looked_at_a_part_alone_offers_to_search_everything(
    mo: Client, group: Conversation, make_message: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        make_message(group, FIRST + number, payload={"text": f"offer {number}"})
    monkeypatch.setattr(query, "FEW_CANDIDATES", 2)
    monkeypatch.setattr(query, "QUICK_CANDIDATES", 2)
    monkeypatch.setattr(query, "PARTS", (3, 100))
    assert len(addresses(mo, "offer")["messages"]) == 3
    assert "All results" in markup(answer_to(mo, "offer"))
    assert len(query.search(query.Wanted(text="offer")).keys) == 9


def test_nothing_found_leads_to_the_search_first(mo: Client, group: Conversation) -> None:
    page = markup(answer_to(mo, "nobody"))
    assert 'No quick results for “<bdi><span translate="no">nobody</span></bdi>”.' in page
    assert page.index("Search everything") < page.index("Open as a group")


@pytest.fixture
def many(application: Application, make_message: Make, moderator: Any, make_recall: Callable[..., Recall]) -> None:
    """Everything many times."""
    for number in range(12):
        group = Conversation.objects.open(application, Group(f"many-{number}"))
        make_message(group, FIRST, senderId=f"many-{number}", senderData={"name": "many"}, payload={"text": "many"})
        fields = {"application": application, "since": 1, "until": 2, "actor": moderator}
        Sweep.objects.create(sender_id=f"many-{number}", sender_name="many", **fields)
    make_recall([FIRST])
    Recall.objects.update(conversation_title="many", conversation=group)


QUERIES = ["many", "many-3", "many-1/many-2", str(FIRST), "0a1b2c3d"]


@pytest.mark.parametrize("text", QUERIES)
def test_the_number_of_queries_has_a_bound(
    mo: Client, many: None, text: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    answer_to(mo, text)
    with django_assert_max_num_queries(33):
        answer_to(mo, text)


@pytest.mark.parametrize("text", [*QUERIES, "ma", "m", "!!", "nothing here"])
def test_an_index_answers_every_query(mo: Client, many: None, text: str) -> None:
    people.index_names()
    statements: list[tuple[str, Any]] = []

    def keep(execute: Any, sql: str, params: Any, *more: Any) -> Any:
        statements.append((sql, params))
        return execute(sql, params, *more)

    with connection.execute_wrapper(keep):
        answer_to(mo, text)
    growing = ("archive_message", "archive_conversation", "archive_sender", "search_searchtext", "recall_recallitem")
    scans = []
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Of tables as small as these the planner reads all.
            cursor.execute("SET LOCAL enable_seqscan = off")
        for sql, params in statements:
            if sql.startswith(("SELECT", "WITH")) and any(table in sql for table in growing):
                prefix = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
                cursor.execute(f"{prefix} {sql}", params)
                plan = [str(row[-1]) for row in cursor.fetchall()]
                scans += [(line, sql) for line in plan if is_scan(line, growing)]
    assert scans == []
    assert len(statements) > 5


def is_scan(line: str, tables: tuple[str, ...]) -> bool:
    """Whether a line of a plan reads a whole table; in the order of an index it ends at the limit."""
    if connection.vendor == "postgresql":
        return any(f"Seq Scan on {table}" in line for table in tables)
    return any(line.startswith(f"SCAN {table}") for table in tables) and "USING" not in line


# Who


def test_an_auditor_finds_and_is_offered_nothing_to_change(client: Client, auditor: Any, many: None) -> None:
    client.force_login(auditor)
    results = addresses(client, "many")
    assert {"conversations", "people", "messages", "recalls"} <= set(results)
    assert "opening" not in addresses(client, "x/y")
    offered = addresses(client, "")["actions"]
    assert reverse("admin:audit_auditentry_changelist") in offered
    assert not {reverse("recall-new"), reverse("sweep-new"), reverse("open-conversation")} & set(offered)
    assert [entry["q"] for entry in searches()] == ["many", "x/y"]


def test_a_moderator_is_not_offered_the_log(mo: Client) -> None:
    offered = addresses(mo, "")["actions"]
    assert reverse("admin:audit_auditentry_changelist") not in offered
    assert reverse("admin:index") not in offered


@pytest.mark.parametrize(
    ("permission", "missing"),
    [
        ("archive.view_message", {"people", "messages"}),
        ("recall.view_recall", {"recalls"}),
    ],
)
def test_a_group_needs_the_right_of_its_page(
    mo: Client, moderator: Any, many: None, permission: str, missing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing <= set(addresses(mo, "many"))
    has_perm = type(moderator).has_perm
    monkeypatch.setattr(
        type(moderator), "has_perm", lambda user, name, obj=None: name != permission and has_perm(user, name, obj)
    )
    results = set(addresses(mo, "many"))
    assert not missing & results
    assert "conversations" in results


def test_the_answer_requires_signing_in(client: Client, db: None) -> None:
    assert client.get("/open/", {"q": "a"}, headers=HTMX).status_code == 302
    assert searches() == []


def test_each_answered_query_is_one_entry(mo: Client, group: Conversation) -> None:
    for text in ("gr", " group-1 ", "nobody"):
        answer_to(mo, text)
    mo.get(reverse("jump"), {"q": "group-1"})
    assert searches() == [
        {"page": "open", "q": "gr"},
        {"page": "open", "q": "group-1"},
        {"page": "open", "q": "nobody"},
        {"page": "open", "q": "group-1"},
    ]


# Bad input


@pytest.mark.parametrize("length", [256, 2_000])
def test_a_text_that_is_too_long_is_refused_and_not_recorded(mo: Client, group: Conversation, length: int) -> None:
    for text in ("长" * length, "x" * length):
        answer = answer_to(mo, text)
        assert f"this text has {length} characters, and a search at most 255" in answer.content.decode()
        assert answer.context["results"].groups == []
    assert "at most 511" in answer_to(mo, "/" * 2000).content.decode()
    assert searches() == []


@pytest.mark.parametrize(
    "query_string",
    [
        "q=%00",
        "q=a%00b",
        "q=%ED%A0%80",
        "q=%F0%9F",
        "q=" + quote("/"),
        "q=" + quote("///"),
        "q=" + quote("!?…—🎉"),
        "q=" + quote("% _ \\ ' \" ; -- ( ) * NEAR"),
        "q=" + quote("\u202egnp.exe"),
        "q=" + quote("\u200b\u200b"),
        "q=" + quote("مرحبا بالعالم"),
        "q=" + quote("a/" * 120),
        "q=" + "9" * 13,
        "q=" + "9" * 255,
        "q=" + quote("{" + "f" * 32 + "}"),
        "q=a&q=b",
    ],
)
def test_any_text_is_answered(mo: Client, many: None, query_string: str) -> None:
    for headers in (HTMX, {}):
        assert mo.get(f"/open/?{query_string}", headers=headers).status_code in {200, 302}


def test_invisible_text_matches_nothing(mo: Client, many: None) -> None:
    assert set(addresses(mo, "\u200b\u2060")) <= {"opening"}
    assert set(addresses(mo, "/")) <= {"opening"}


def test_a_time_in_seconds_is_said_to_need_milliseconds(mo: Client, private: Conversation, make_message: Make) -> None:
    make_message(private, FIRST)
    page = answer_to(mo, str(FIRST // 1000)).content.decode()
    assert "milliseconds and has 13 digits" in page
    assert "13 digits" not in answer_to(mo, str(FIRST)).content.decode()


def test_long_and_misleading_names_are_marked_and_stay_text(
    mo: Client, group: Conversation, make_message: Make
) -> None:
    make_message(group, FIRST, senderId="u-1", senderData={"name": "x" * 255})
    make_message(group, FIRST + 1, senderId="u-2", senderData={"name": "<b>x\u202egnp"})
    page = markup(answer_to(mo, "x"))
    assert "x" * 255 in page
    assert "&lt;b&gt;x" in page
    assert "U+202E" in page
    assert "\u202e" not in page


# The plain page


@pytest.mark.parametrize("text", ["many", "many-3", "x/y", "", "x" * 300, str(FIRST // 1000)])
def test_the_plain_page_has_the_palettes_groups(mo: Client, many: None, text: str) -> None:
    live, plain = answer_to(mo, text), mo.get(reverse("jump"), {"q": text})
    if plain.status_code == 302:
        assert plain.headers["Location"] in markup(live)
        return
    assert [group.name for group in plain.context["results"].groups] == [
        group.name for group in live.context["results"].groups
    ]
    assert plain.context["results"].problem == live.context["results"].problem
    assert 'role="option"' not in plain.content.decode().partition("<main")[2].partition("</main>")[0]


def test_the_palette_redirects_nowhere(mo: Client, group: Conversation) -> None:
    assert mo.get(reverse("jump"), {"q": "group-1"}).status_code == 302
    assert addresses(mo, "group-1")["conversations"] == [group.get_absolute_url()]


def test_options_are_in_named_groups_of_a_listbox(mo: Client, many: None) -> None:
    page = markup(answer_to(mo, "many"))
    assert 'role="listbox" id="palette-list" aria-label="Results"' in page
    for name in ("conversations", "people", "messages", "recalls"):
        assert f'aria-labelledby="results-{name}" role="group"' in page
        assert f'id="option-{name}-1"' in page


# The search page


def test_people_come_first_on_the_search_page_when_one_matches_exactly(
    mo: Client, group: Conversation, make_message: Make
) -> None:
    make_message(group, FIRST, senderId="u-1", senderData={"name": "group"})
    for text, is_first in (("group", True), ("grou", False)):
        page = markup(mo.get(reverse("conversations"), {"q": text}))
        assert (page.index("<h2>People</h2>") < page.index("<h2>Conversations</h2>")) is is_first, text


def test_messages_come_first_on_the_search_page_when_nothing_else_matches(
    mo: Client, group: Conversation, make_message: Make
) -> None:
    make_message(group, FIRST, payload={"text": "微信"})
    page = markup(mo.get(reverse("conversations"), {"q": "微信"}))
    assert page.index("<mark>微信</mark>") < page.index("No such conversation in the archive")
    assert "<h2>Conversations</h2>" not in page
    nothing = markup(mo.get(reverse("conversations"), {"q": "nobody"}))
    assert nothing.index("No such conversation in the archive") < nothing.index("No results.")
