"""The page that finds messages, and the page of one sender."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from moderation.applications.models import Application
from moderation.archive.models import Conversation, Message
from moderation.audit.models import Action, AuditEntry
from moderation.desk.views import lists, sender
from moderation.goeasy.client import Group
from moderation.search import normalise, query
from moderation.search.models import SearchProgress
from tests.markup import markup

FIRST = 1_700_000_000_000
Make = Callable[..., Message]


@pytest.fixture
def signed_in(client: Client, moderator: Any) -> Client:
    client.force_login(moderator)
    return client


def texts(client: Client, **query: Any) -> list[str]:
    hits = client.get(reverse("conversations"), query).context["hits"]
    return [hit.message.data["payload"]["text"] for hit in hits]


def test_conversations_come_first_and_messages_below(
    signed_in: Client, private: Conversation, group: Conversation, make_message: Make
) -> None:
    make_message(group, FIRST, payload={"text": "ask user-a about 微信"}, senderData={"name": "王小明"})
    context = signed_in.get(reverse("conversations"), {"q": "user-a"}).context
    assert list(context["page"]) == [private]
    assert [hit.message.conversation for hit in context["hits"]] == [group]
    page = markup(signed_in.get(reverse("conversations"), {"q": "微信"}))
    assert "<mark>微信</mark>" in page
    assert "王小明" in page
    assert f"{group.get_absolute_url()}?at={FIRST}" in page


def test_a_hit_of_the_app_s_own_type_shows_its_json_only_where_that_was_searched_for(
    signed_in: Client, group: Conversation, make_message: Make
) -> None:
    make_message(group, FIRST, type="order", payload={"id": "D-9917", "name": "夏季 T 恤"})
    page = markup(signed_in.get(reverse("conversations"), {"q": "夏季"}))
    assert "<mark>夏季</mark> T 恤" in page
    assert "D-9917" not in page
    assert "<mark>D-9917</mark>" in markup(signed_in.get(reverse("conversations"), {"q": "D-9917"}))


def test_message_text_cannot_become_markup(signed_in: Client, group: Conversation, make_message: Make) -> None:
    make_message(group, FIRST, payload={"text": "<script>alert(1)</script> \u202egnp.exe"})
    page = markup(signed_in.get(reverse("conversations"), {"q": "ALERT"}))
    assert "&lt;script&gt;<mark>alert</mark>(1)" in page
    assert "U+202E" in page


def test_without_a_search_there_are_conversations_alone(
    signed_in: Client, group: Conversation, make_message: Make
) -> None:
    make_message(group, FIRST)
    for filters in ({}, {"kind": "group"}, {"sender": "", "type": "", "since": ""}):
        context = signed_in.get(reverse("conversations"), filters).context
        assert list(context["page"]) == [group]
        assert "hits" not in context
    # The link to more conversations leads to no messages, and that to older messages to no conversations.
    assert "hits" not in signed_in.get(reverse("conversations"), {"q": "g", "after": f"{FIRST + 1}-9999"}).context
    assert "page" not in signed_in.get(reverse("conversations"), {"q": "m", "before": f"{FIRST + 1}-9999"}).context


def test_a_text_that_is_too_long_is_not_searched_for(
    signed_in: Client, group: Conversation, make_message: Make
) -> None:
    make_message(group, FIRST)
    page = signed_in.get(reverse("conversations"), {"q": "a" * 256})
    assert "this text has 256 characters, and a search at most 255" in page.content.decode()
    assert not page.context["with_conversations"]
    assert "with_messages" not in page.context
    assert not AuditEntry.objects.filter(action=Action.SEARCHED).exists()
    page = signed_in.get(reverse("conversations"), {"q": "a" * 255})
    assert page.context["with_messages"]
    assert "Nothing was searched for" not in page.content.decode()


def test_filters_take_several_values_and_combine(
    signed_in: Client, group: Conversation, private: Conversation, make_message: Make
) -> None:
    make_message(group, FIRST, payload={"text": "one"})
    make_message(group, FIRST + 1, payload={"text": "two"}, senderId='b/:"&', recalled=True)
    make_message(private, FIRST + 2, payload={"text": "three"}, senderId="c")
    assert texts(signed_in, sender=['b/:"&', "c", ""]) == ["three", "two"]
    assert texts(signed_in, sender=['b/:"&', "c"], q="t", recalled="yes") == ["two"]
    assert texts(signed_in, recalled=["yes", "no"]) == ["three", "two", "one"]
    assert texts(signed_in, conversation=[group.pk]) == ["two", "one"]
    assert texts(signed_in, conversation=["x"]) == []
    assert texts(signed_in, since=FIRST + 1, until=FIRST + 1) == ["two"]
    assert texts(signed_in, type=["image", "text"], kind="private") == ["three"]


def test_times_are_the_persons_own(signed_in: Client, moderator: Any, group: Conversation, make_message: Make) -> None:
    moderator.timezone = "Asia/Shanghai"
    moderator.save()
    # 2023-11-14 22:13:20 UTC.
    make_message(group, FIRST + 500, payload={"text": "late"})
    assert texts(signed_in, since="2023-11-15T06:13:20", until="2023-11-15T06:13:20") == ["late"]
    assert texts(signed_in, since="2023-11-15T06:13:21") == []
    page = signed_in.get(reverse("conversations"), {"since": "yesterday", "sender": "user-a"})
    assert page.context["form"].errors["since"]


def test_pages_of_messages_follow_each_other(
    signed_in: Client, group: Conversation, make_message: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "PAGE_SIZE", 4)
    for number in range(11):
        make_message(group, FIRST + number // 3, payload={"text": f"offer {number}"})
    seen: list[str] = []
    query = "q=offer&kind=group"
    while query:
        context = signed_in.get(f"{reverse('conversations')}?{query}").context
        seen += [hit.message.data["payload"]["text"] for hit in context["hits"]]
        query = context["older_hits"]
    assert seen == [f"offer {number}" for number in reversed(range(11))]


def test_a_page_that_looked_through_its_share_offers_to_look_further(
    signed_in: Client, group: Conversation, make_message: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "PARTS", (2,))
    for number in range(5):
        make_message(group, FIRST + number, type="text" if number else "order")
    page = signed_in.get(reverse("conversations"), {"type": "order"})
    assert page.context["hits"] == []
    assert "Look further back" in markup(page)
    page = signed_in.get(f"{reverse('conversations')}?{page.context['older_hits']}")
    page = signed_in.get(f"{reverse('conversations')}?{page.context['older_hits']}")
    assert len(page.context["hits"]) == 1


def test_the_page_says_what_cannot_be_searched_yet(signed_in: Client, group: Conversation, make_message: Make) -> None:
    make_message(group, FIRST)
    assert "indexed anew" not in markup(signed_in.get("/conversations/?q=m"))
    SearchProgress.objects.update_or_create(pk=1, defaults={"done": 30, "older": 120, "rules": normalise.VERSION})
    assert "indexed anew: 25% are done" in markup(signed_in.get("/conversations/?q=m"))


NINE_SPELLINGS = ["\u200b", "\u2060", "\u200d", "\ufe0f", "\u034f", "\u0301", "\U000e0041\U000e007f", " ", "."]


@pytest.mark.parametrize("between", NINE_SPELLINGS)
def test_the_search_and_the_filter_of_a_page_find_every_spelling(
    signed_in: Client, group: Conversation, make_message: Make, between: str
) -> None:
    spelled = f"微{between}信"
    hidden = make_message(group, FIRST, payload={"text": f"加我{spelled}領紅包"})
    make_message(group, FIRST + 1, payload={"text": "微博信"})
    ignoring = {"loosely": "1"} if between in " ." else {}
    # The mark is around what was written, whatever was in between.
    page = signed_in.get(reverse("conversations"), {"q": "微信", **ignoring})
    (hit,) = page.context["hits"]
    assert [piece for piece, is_hit in hit.pieces if is_hit] == [spelled]
    assert filtered(signed_in, group, "微信", **ignoring) == [hidden.pk]
    if ignoring:
        assert texts(signed_in, q="微信") == []
        assert filtered(signed_in, group, "微信") == []


def filtered(client: Client, conversation: Conversation, text: str, **fields: str) -> list[int]:
    """The ids that the filter of the conversation's page leaves."""
    pks = ",".join(str(pk) for pk in conversation.message_set.values_list("pk", flat=True))
    address = reverse("conversation-filter", args=[conversation.pk])
    matching: list[int] = client.post(address, {"q": text, "messages": pks, **fields}).json()["matching"]
    return matching


def test_the_filter_of_a_page_looks_at_names_ids_and_times_and_at_no_other_conversation(
    signed_in: Client, group: Conversation, private: Conversation, make_message: Make
) -> None:
    one = make_message(group, FIRST, senderId="u-7", senderData={"name": "ＡＮＮ"}, payload={"text": "hello"})
    make_message(group, FIRST + 1, senderId="u-8", payload={"text": "bye"})
    for text in ("ann", "U-7", "HELLO", str(FIRST)):
        assert filtered(signed_in, group, text) == [one.pk]
    address = reverse("conversation-filter", args=[private.pk])
    answer = signed_in.post(address, {"q": "hello", "messages": f"{one.pk},x,,{'9' * 30}"})
    assert answer.json() == {"matching": []}


def test_the_number_of_queries_does_not_grow_with_the_matches(
    signed_in: Client,
    application: Application,
    make_message: Make,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(30):
        group = Conversation.objects.open(application, Group(f"g{number}"))
        make_message(group, FIRST + number, senderId=f"u{number}")
    with django_assert_max_num_queries(28):
        signed_in.get(reverse("conversations"), {"q": "message"})
    with django_assert_max_num_queries(22):
        signed_in.get(reverse("sender", args=["default"]), {"id": "u1"})


# Recalling matches


def test_ticked_messages_of_one_conversation_are_recalled_by_the_usual_form(
    signed_in: Client, private: Conversation, make_message: Make
) -> None:
    pks = [make_message(private, FIRST + number).pk for number in range(2)]
    response = signed_in.get(reverse("ticked-messages"), {"message": [*pks, "x", 10**17]})
    assert response.status_code == 302
    address = urlsplit(response.headers["Location"])
    assert address.path == reverse("recall-new")
    assert parse_qs(address.query) == {
        "app": ["default"],
        "kind": ["private"],
        "user_a": ["user-a"],
        "user_b": ["user-b"],
        "timestamps": [f"{FIRST},{FIRST + 1}"],
    }
    assert str(FIRST + 1) in markup(signed_in.get(response.headers["Location"]))


def test_ticked_messages_of_several_conversations_are_listed_by_conversation(
    signed_in: Client, private: Conversation, group: Conversation, make_message: Make
) -> None:
    pks = [make_message(each, FIRST + number).pk for number, each in enumerate([private, group, private])]
    response = signed_in.get(reverse("ticked-messages"), {"message": pks})
    assert {(each.pk, number) for each, number, _address in response.context["recalls"]} == {
        (private.pk, 2),
        (group.pk, 1),
    }
    assert "No message is selected" in markup(signed_in.get(reverse("ticked-messages")))


def test_who_may_not_recall_is_offered_nothing_to_tick(
    client: Client, auditor: Any, group: Conversation, make_message: Make
) -> None:
    make_message(group, FIRST)
    client.force_login(auditor)
    page = markup(client.get(reverse("conversations"), {"q": "message"}))
    assert "<mark>message</mark>" in page
    assert 'name="message"' not in page
    assert client.get(reverse("sender", args=["default"]), {"id": "user-a"}).status_code == 200


# One sender


def test_a_senders_page_tells_names_times_places_and_what_was_recalled(
    signed_in: Client, private: Conversation, group: Conversation, make_message: Make
) -> None:
    make_message(group, FIRST, senderData={"name": "小明"})
    make_message(group, FIRST + 1, senderData={"name": "小明"}, recalled=True)
    make_message(private, FIRST + 2, senderData={"name": "王小明"})
    make_message(private, FIRST + 3, senderId="user-b")
    page = signed_in.get(reverse("sender", args=["default"]), {"id": "user-a"})
    context = page.context
    assert context["names"] == ["王小明", "小明"]
    assert (context["first"].timestamp, context["last"].timestamp) == (FIRST, FIRST + 2)
    assert [(each.pk, number) for each, number in context["conversations"]] == [(group.pk, 2), (private.pk, 1)]
    assert [hit.message.timestamp for hit in context["hits"]] == [FIRST + 2, FIRST + 1, FIRST]
    text = markup(page)
    assert "1 of 3 (33%)" in text
    assert f"{reverse('sweep-new')}?app=default&amp;sender=user-a&amp;since={FIRST}&amp;until={FIRST + 2}" in text


def test_a_senders_page_shows_the_latest_of_many_messages(
    signed_in: Client, group: Conversation, make_message: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "MAX_EXAMINED", 4)
    for number in range(6):
        make_message(group, FIRST + number, recalled=number == 0 or number == 5)
    page = signed_in.get(reverse("sender", args=["default"]), {"id": "user-a"})
    assert page.context["first"].timestamp == FIRST
    assert "1 of the last 4 (25%)" in markup(page)


def test_an_id_may_be_any_text(signed_in: Client, group: Conversation, make_message: Make) -> None:
    odd = 'a/b:?&#%"<用户>'
    make_message(group, FIRST, senderId=odd)
    link = markup(signed_in.get(reverse("conversations"), {"q": "message"}))
    assert "/senders/default/?id=a%2Fb%3A%3F%26%23%25%22%3C" in link
    page = signed_in.get(reverse("sender", args=["default"]), {"id": odd})
    assert len(page.context["hits"]) == 1


def test_users_of_two_applications_with_one_id_are_two(
    signed_in: Client, group: Conversation, make_message: Make
) -> None:
    other = Application.objects.create(slug="other", name="Other")
    make_message(Conversation.objects.open(other, Group("group-1")), FIRST)
    make_message(group, FIRST + 1)
    page = signed_in.get(reverse("sender", args=["other"]), {"id": "user-a"})
    assert [hit.message.timestamp for hit in page.context["hits"]] == [FIRST]
    assert page.context["looked_at"] == 1


def test_a_sender_needs_an_id_and_an_application(signed_in: Client, application: Application) -> None:
    assert signed_in.get(reverse("sender", args=["default"])).status_code == 404
    assert signed_in.get(reverse("sender", args=["nowhere"]), {"id": "a"}).status_code == 404
    assert signed_in.get(reverse("sender", args=["default"]), {"id": "nobody"}).status_code == 200


def test_the_jump_page_leads_to_the_sender(signed_in: Client, private: Conversation, make_message: Make) -> None:
    make_message(private, FIRST, senderData={"name": "王"})
    make_message(Conversation.objects.open(private.application, Group("user-a")), FIRST)
    page = markup(signed_in.get(reverse("jump"), {"q": "user-a"}))
    assert "/senders/default/?id=user-a" in page
