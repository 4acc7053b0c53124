"""The audit log's buttons: an auditor has it verified, and takes it away."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import ROOT

OpenBrowser = Callable[..., Page]
LIST = "/admin/audit/auditentry/"


def test_an_auditor_has_the_log_verified_and_sees_it_happen(open_browser: OpenBrowser, world: dict[str, Any]) -> None:
    page = open_browser("audrey")
    page.goto(LIST)
    page.get_by_role("button", name="Verify now").click()
    expect(page.get_by_role("status")).to_have_text("intact", timeout=30_000)
    page.goto(f"{LIST}?action=audit.verified")
    expect(page.locator("#result_list tbody tr").first.locator(".field-actor")).to_have_text("audrey")


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
