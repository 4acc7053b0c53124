"""The rows that a list asks for again while somebody looks at it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from moderation.applications.models import Application
from moderation.archive.models import Conversation
from moderation.desk.views.conversation_rows import HOME_ROWS, LIST_ROWS, PANE_ROWS
from moderation.goeasy.client import Group
from recall.models import Recall
from tests.desk.conversations import START, fill

ROWS = "/conversations/rows/"


def live_address(client: Client, page: str) -> str:
    """The address that the list of a page asks; empty when it asks for nothing."""
    found = re.findall(rf'hx-get="({ROWS}[^"]*)"\s+hx-trigger="every 15s', client.get(page).content.decode())
    return html.unescape(found[0]) if found else ""


def ids(client: Client, address: str) -> list[int]:
    return [int(pk) for pk in re.findall(r'<li data-id="(\d+)"', client.get(address).content.decode())]


@pytest.mark.parametrize(
    ("page", "size"), [("/conversations/", LIST_ROWS), ("/", HOME_ROWS), ("/conversations/{pk}/", PANE_ROWS)]
)
def test_a_list_asks_for_as_many_rows_as_it_has(
    mo: Client, application: Application, private: Conversation, page: str, size: int
) -> None:
    Conversation.objects.bulk_create(
        Conversation(application=application, kind="group", group_id=f"g{number}", last_timestamp=START + number)
        for number in range(70)
    )
    page = page.format(pk=private.pk)
    shown = ids(mo, page)
    assert len(shown) == size
    assert ids(mo, live_address(mo, page)) == shown


def test_the_rows_keep_the_filters_of_their_page(
    mo: Client, make_recall: Callable[..., Recall], private: Conversation, group: Conversation
) -> None:
    make_recall([START], "unknown", state="finished")
    other = Application.objects.create(slug="other", name="Other")
    theirs = Conversation.objects.open(other, Group("g"))
    for query, pks in (
        ("kind=group", {group.pk, theirs.pk}),
        ("app=other", {theirs.pk}),
        ("needs=action", {private.pk}),
    ):
        assert set(ids(mo, live_address(mo, f"/conversations/?{query}"))) == pks


@pytest.mark.parametrize("query", ["q=user", "after=5-5", "sender=user-a", "kind=group&q=user"])
def test_a_search_and_a_later_page_ask_for_nothing(mo: Client, private: Conversation, query: str) -> None:
    assert live_address(mo, f"/conversations/?{query}") == ""


def test_rows_that_the_page_shows_already_are_not_sent_again(mo: Client, private: Conversation) -> None:
    fill(private, 2)
    version = mo.get(ROWS).headers["X-Rows"]
    assert mo.get(ROWS, {"seen": version}).status_code == 204
    fill(private, 1, start=START + 60_000)
    answer = mo.get(ROWS, {"seen": version})
    assert answer.status_code == 200
    assert answer.headers["X-Rows"] != version


def test_the_rows_mark_the_conversation_beside_the_list(mo: Client, private: Conversation, group: Conversation) -> None:
    address = live_address(mo, f"/conversations/{group.pk}/")
    marked = re.findall(r'href="([^"]*)"\s+class="[^"]*"\s+aria-current="page"', mo.get(address).content.decode())
    assert marked == [f"/conversations/{group.pk}/"]


def test_the_number_of_what_needs_action_comes_with_the_list_alone(
    mo: Client, make_recall: Callable[..., Recall]
) -> None:
    make_recall([START], "unknown", state="finished")
    assert '<template data-count="needing">1</template>' in mo.get(ROWS, {"for": "list"}).content.decode()
    for place in ("home", "pane"):
        assert "data-count" not in mo.get(ROWS, {"for": place}).content.decode()


@pytest.mark.parametrize(
    "query",
    ["for=nothing", "open=x", "open=" + "9" * 30, "open=²", "kind=choir", "app=nobody", "needs=x", "seen=%00", "q=x"],
)
def test_parameters_that_mean_nothing_narrow_nothing(mo: Client, private: Conversation, query: str) -> None:
    assert ids(mo, f"{ROWS}?{query}") == [private.pk]


def test_asking_for_the_rows_reads_nothing_from_goeasy_and_records_nothing(
    mo: Client, connected: Application, sandbox: Any, private: Conversation
) -> None:
    from moderation.audit.models import AuditEntry
    from moderation.desk.models import ReadMarker

    before = timezone.now()
    assert ids(mo, ROWS) == [private.pk]
    assert sandbox.calls("history") == []
    assert not AuditEntry.objects.filter(at__gte=before).exists()
    assert not ReadMarker.objects.exists()
