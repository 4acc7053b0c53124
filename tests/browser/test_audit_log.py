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
    expect(page.locator("#result_list tbody tr").first.locator(".field-actor_name")).to_have_text("audrey")


def test_an_auditor_takes_an_export_away_that_a_worker_wrote(open_browser: OpenBrowser, world: dict[str, Any]) -> None:
    page = open_browser("audrey")
    page.goto(f"{LIST}?action=recall.answered")
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
    conversations = page.get_by_label("Conversation", exact=True)
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
        ({"width": 1280, "height": 900}, "seq time actor_name action_name code conversation_ids recall_link"),
        ({"width": 390, "height": 844, "has_touch": True, "is_mobile": True}, "seq time actor_name action_name"),
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
