"""The README's pictures, of the demo's conversations: in docs/images with README_PICTURES=1, else in test-results."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ROOT, SCREENSHOTS
from tests.browser.steps import confirm, review, wait_until

OpenBrowser = Callable[..., Page]

IMAGES = ROOT / "docs" / "images"


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where the pictures go."""
    chosen = IMAGES if os.environ.get("README_PICTURES") == "1" else SCREENSHOTS
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


def picture(page: Page, path: Path) -> None:
    """What is in the window, once nothing moves."""
    page.mouse.move(0, 0)
    page.screenshot(path=path, animations="disabled", caret="hide")
    assert path.stat().st_size > 10_000


def find_spam(page: Page) -> None:
    """The spam wave of the town square, selected by its sender."""
    page.goto("/open/?q=g-town-square")
    expect(page.locator("#messages .message[tabindex='0']")).to_have_count(1)
    spam = page.locator("#messages .message[data-sender='promo-7731']:not(.recalled)").last
    spam.scroll_into_view_if_needed()
    spam.hover()
    spam.locator("[data-all]").click()
    expect(page.locator("#picked-senders")).to_contain_text("46")


def test_pictures_of_the_main_job_are_taken(open_browser: OpenBrowser, world: dict[str, Any], folder: Path) -> None:
    page = open_browser("lea", height=860)
    find_spam(page)
    expect(page.locator("#sum")).to_have_text("46 messages · 3 requests")
    page.locator("#recall_reason").select_option("spam")
    page.locator("#recall_note").fill("Same advertisement in six conversations")
    picture(page, folder / "conversation.png")

    review(page)
    expect(page.locator(".review-sum")).to_contain_text("46 messages · 3 requests")
    picture(page, folder / "review.png")
    confirm(page, typed=46)
    wait_until(page, "accepted")
    expect(page.locator("#recall-sentence")).to_contain_text("all 46 messages")
    picture(page, folder / "recall.png")
    page.goto("/")
    expect(page.get_by_role("heading", name="Action needed")).to_be_visible()
    expect(page.locator(".recall-lines .pill").first).to_be_visible()
    expect(page.locator(".conversation-rows")).to_contain_text("g-town-square")
    picture(page, folder / "home.png")


def test_a_picture_of_the_audit_log_is_taken(open_browser: OpenBrowser, world: dict[str, Any], folder: Path) -> None:
    page = open_browser("audrey", height=860)
    page.goto("/admin/audit/auditentry/?response_code=200&response_code=400&response_code=401")
    expect(page.locator("#result_list .field-code .pill.accepted").first).to_be_visible()
    expect(page.locator("#result_list .field-code .pill.refused").first).to_be_visible()
    picture(page, folder / "audit.png")


def test_a_picture_on_a_phone_is_taken(open_browser: OpenBrowser, world: dict[str, Any], folder: Path) -> None:
    page = open_browser("mo", width=390, height=844, has_touch=True, is_mobile=True, device_scale_factor=2)
    page.goto("/open/?q=g-book-club")
    boxes = page.locator("#messages .message[data-sender='promo-7731'] .tick")
    for box in boxes.all():
        box.click()
    expect(page.locator("#bar")).to_contain_text("4 messages · 1 request")
    picture(page, folder / "phone.png")


def test_a_picture_in_chinese_and_dark_mode_is_taken(
    open_browser: OpenBrowser, world: dict[str, Any], folder: Path
) -> None:
    page = open_browser("zhao", height=860, color_scheme="dark")
    page.goto("/open/?q=g-guild-azure")
    expect(page.locator("html")).to_have_attribute("lang", re.compile("zh", re.IGNORECASE))
    spam = page.locator("#messages .message[data-sender='promo-7731']").last
    spam.hover()
    spam.locator("[data-all]").click()
    expect(page.locator("#picked-senders")).to_contain_text("6")
    expect(page.locator("#review")).to_contain_text("预览")
    picture(page, folder / "conversation-zh-dark.png")
