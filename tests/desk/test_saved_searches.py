"""Filters as chips, and searches that a person keeps."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.db import IntegrityError
from django.test import Client

from moderation.archive.models import Conversation
from moderation.desk.models import SavedSearch
from moderation.desk.views.saved_searches import MAX_SAVED

pytestmark = pytest.mark.django_db


@pytest.fixture
def mo(client: Client, moderator: Any) -> Client:
    client.force_login(moderator)
    return client


def chips(client: Client, query: str) -> list[tuple[str, str]]:
    """Text and address of each chip."""
    page = client.get(f"/conversations/?{query}").content.decode()
    found = re.findall(r'class="chip" href="([^"]*)">(.*?)<span aria-hidden', page, re.DOTALL)
    return [
        (" ".join(html.unescape(re.sub("<[^>]*>", " ", text)).split()), html.unescape(address))
        for address, text in found
    ]


def test_each_value_of_a_filter_is_a_chip_that_removes_it(mo: Client, private: Conversation) -> None:
    shown = chips(mo, "q=win&sender=u-1&sender=u-2&recalled=no&before=1-2")
    assert shown == [
        ("Sender's id u-1", "?q=win&sender=u-2&recalled=no"),
        ("Sender's id u-2", "?q=win&sender=u-1&recalled=no"),
        ("Recalled not recalled", "?q=win&sender=u-1&sender=u-2"),
    ]


def test_a_time_on_a_chip_is_in_the_reader_s_zone(client: Client, make_user: Any, private: Conversation) -> None:
    client.force_login(make_user("wang", "moderator", timezone="Asia/Shanghai"))
    assert chips(client, "since=2026-01-31T09:30:00&type=image") == [
        ("Type image", "?since=2026-01-31T09%3A30%3A00"),
        ("From 2026-01-31 09:30:00", "?type=image"),
    ]


def test_what_narrows_nothing_has_no_chip(mo: Client, private: Conversation) -> None:
    assert chips(mo, "since=yesterday&recalled=perhaps&app=none&loosely=on&sender=") == []


def test_names_on_chips_cannot_be_markup_or_reverse_the_line(mo: Client, private: Conversation) -> None:
    page = mo.get("/conversations/", {"sender": "<b>\u202ex"}).content.decode()
    assert "<b>" not in page
    assert "\u202e" not in page.split('class="chips"')[1].split("</ul>")[0].split("<bdi")[1]


def test_a_search_is_saved_used_replaced_and_removed(mo: Client, moderator: Any, private: Conversation) -> None:
    saving = {"name": "Spam", "query": "sender=u-1&q=win&before=1-2&other=x"}
    response = mo.post("/conversations/saved/", saving)
    search = SavedSearch.objects.get()
    assert (search.user, search.name, search.query) == (moderator, "Spam", "q=win&sender=u-1")
    assert response.url == "/conversations/?q=win&sender=u-1"  # type: ignore[attr-defined]
    page = mo.get(response.url).content.decode()  # type: ignore[attr-defined]
    assert f'name="search" value="{search.pk}"' in page
    assert "Save this search" not in page
    # In the palette, too.
    assert "/conversations/?q=win&amp;sender=u-1" in mo.get("/open/", {"q": "spam"}).content.decode()
    mo.post("/conversations/saved/", {**saving, "query": "q=lottery"})
    assert SavedSearch.objects.get().query == "q=lottery"
    mo.post("/conversations/unsave/", {"search": search.pk})
    assert not SavedSearch.objects.exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": " ", "query": "q=x"}, "Give the search a name"),
        ({"name": "n" * 61, "query": "q=x"}, "at most 60 characters"),
        ({"name": "empty", "query": "before=1-2&q="}, "There is nothing to save"),
        ({"name": "long", "query": "q=" + "x" * 2_000}, "at most 2000 characters"),
    ],
)
def test_a_search_that_cannot_be_saved_says_why(
    mo: Client, private: Conversation, fields: dict[str, str], said: str
) -> None:
    assert said in mo.post("/conversations/saved/", fields, follow=True).content.decode()
    assert not SavedSearch.objects.exists()


def test_a_person_keeps_thirty_searches_at_most(mo: Client, moderator: Any, private: Conversation) -> None:
    SavedSearch.objects.bulk_create(
        SavedSearch(user=moderator, name=str(number), query="q=x") for number in range(MAX_SAVED)
    )
    page = mo.post("/conversations/saved/", {"name": "one more", "query": "q=x"}, follow=True).content.decode()
    assert "which is the most" in page
    # One of them may change.
    mo.post("/conversations/saved/", {"name": "3", "query": "q=y"})
    assert SavedSearch.objects.get(name="3").query == "q=y"


def test_nobody_sees_or_removes_another_person_s_search(mo: Client, lead: Any, private: Conversation) -> None:
    theirs = SavedSearch.objects.create(user=lead, name="Theirs", query="q=x")
    assert "Theirs" not in mo.get("/conversations/").content.decode()
    for pk in (theirs.pk, "", "x", "9" * 18, "9" * 40):
        assert mo.post("/conversations/unsave/", {"search": pk}).status_code == 404
    assert SavedSearch.objects.exists()


def test_the_database_refuses_a_second_search_of_a_name(moderator: Any) -> None:
    SavedSearch.objects.create(user=moderator, name="Spam", query="q=x")
    with pytest.raises(IntegrityError, match=r"a_person_gives_a_name|UNIQUE"):
        SavedSearch.objects.create(user=moderator, name="Spam", query="q=y")
