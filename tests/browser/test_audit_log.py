"""The audit log's buttons: verification and export."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ROOT, Console

OpenBrowser = Callable[..., Page]
LIST = "/admin/audit/auditentry/"
# An entry with the longest value in each column.
LONG = """
import uuid
from tests.audit.entries import record
record(actor="w" * 150, action="audit.downloaded", app="default", recall=uuid.uuid4(),
    conversation={"kind": "group", "group_id": "g" * 255})
record(actor="w" * 150, action="recall.unanswered", app="default", recall=uuid.uuid4(),
    conversation={"kind": "group", "group_id": "g" * 255})
"""


def test_an_auditor_has_the_log_verified_and_sees_it_happen(open_browser: OpenBrowser, world: dict[str, Any]) -> None:
    page = open_browser("audrey")
    page.goto(LIST)
    page.get_by_role("button", name="Verify now").click()
    expect(page.get_by_role("status")).to_have_text("intact", timeout=30_000)
    page.goto(f"{LIST}?action=audit.verified")
    row = page.locator("#result_list tbody tr").first
    expect(row.locator(".field-sentence")).to_have_text("audrey verified the audit log: it is intact")


def test_an_auditor_finds_what_happened_to_a_message_by_its_timestamp(
    console: Console, open_browser: OpenBrowser, world: dict[str, Any]
) -> None:
    query = "from recall.models import RecallItem; print(RecallItem.objects.filter(recall='{}').first().timestamp)"
    timestamp = console.run(query.format(world["accepted"])).strip()
    page = open_browser("audrey")
    page.goto("/")
    # Three actions from Home: the log, the number, Enter. From the log itself two.
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Audit log").click()
    page.get_by_role("searchbox", name="Find").fill(timestamp)
    page.keyboard.press("Enter")
    sentences = page.locator("#result_list .field-sentence")
    expect(sentences.filter(has_text="mo requested the recall of 2 messages in g-guild-azure")).to_have_count(1)
    expect(sentences.filter(has_text="code 200: accepted")).to_have_count(1)
    # The entry shows the message, and leads back to it in the console.
    sentences.filter(has_text="mo requested").get_by_role("link").click()
    expect(page.locator(".entry-messages li")).to_have_count(2)
    page.locator("main").get_by_role("link", name="Open “").click()
    expect(page.locator(f"#messages .message[data-timestamp='{timestamp}']").first).to_be_visible()


def test_an_auditor_chooses_columns_and_they_stay(open_browser: OpenBrowser, world: dict[str, Any]) -> None:
    page = open_browser("audrey")
    page.goto(f"{LIST}?action=recall.answered")
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("checkbox", name="Latency").check()
    page.get_by_role("button", name="Show these columns").click()
    expect(page).to_have_url(f"{page.url.partition('/admin/')[0]}{LIST}?action=recall.answered")
    page.goto(LIST)
    expect(page.locator("#result_list .column-latency")).to_be_visible()


def test_an_auditor_takes_an_export_away_that_a_worker_wrote(open_browser: OpenBrowser, world: dict[str, Any]) -> None:
    page = open_browser("audrey")
    page.goto(f"{LIST}?action=recall.answered")
    page.get_by_text("Export", exact=True).click()
    page.get_by_role("button", name="Export as CSV in the background").click()
    file = ROOT / "data" / "exports" / f"{page.url.rstrip('/').rpartition('/')[2]}.csv"
    try:
        with page.expect_download(timeout=30_000) as download:
            page.get_by_role("link", name="Download").click()
        with open(download.value.path(), encoding="utf-8-sig", newline="") as taken:
            assert {row["action"] for row in csv.DictReader(taken)} == {"recall.answered"}
    finally:
        file.unlink(missing_ok=True)


def test_a_long_list_of_conversations_is_filtered_by_or_refused_with_a_sentence(
    open_browser: OpenBrowser, world: dict[str, Any]
) -> None:
    page = open_browser("audrey")
    page.goto(LIST)
    for box in page.locator(".filters [type=checkbox]").all():
        box.check()
    conversations = page.locator("#id_conversation")
    conversations.fill("\n".join(f"{uuid4()} ↔ {uuid4()}" for _number in range(50)))
    button = page.get_by_role("button", name="Filter", exact=True)
    button.click()
    expect(page.get_by_text("Nothing matches these filters.")).to_be_visible()
    conversations.fill("\n".join(str(uuid4()) for _number in range(100)))
    button.click()
    expect(page.get_by_text("Give at most 50 ids.")).to_be_visible()


@pytest.mark.parametrize(
    ("size", "columns"),
    [
        ({"width": 1280, "height": 900}, "seq time sentence code recall_link"),
        ({"width": 390, "height": 844, "has_touch": True, "is_mobile": True}, "seq time sentence"),
    ],
)
def test_the_most_important_columns_are_visible_without_scrolling(
    console: Console, open_browser: OpenBrowser, world: dict[str, Any], size: dict[str, Any], columns: str
) -> None:
    console.run(LONG)
    page = open_browser("audrey", **size)
    page.goto(LIST)
    edges = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll("#result_list tbody tr:first-child > *")].map(
            (cell) => [cell.className.replace("field-", ""), cell.getBoundingClientRect().right]))"""
    )
    end = page.evaluate("() => document.querySelector('.results').getBoundingClientRect().right")
    assert set(columns.split()) <= {column for column, edge in edges.items() if edge <= end + 1}, (edges, end)
