"""Reading a conversation: one header a sender, what is new, and the way back to the newest."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console
from tests.browser.steps import group_talk, message, open_talk, review, tick

OpenBrowser = Callable[..., Page]


@pytest.fixture
def page(open_browser: OpenBrowser) -> Page:
    return open_browser()


def test_new_messages_are_announced_anywhere_counted_in_the_title_and_marked(console: Console, page: Page) -> None:
    talk = group_talk(console, 60)
    open_talk(page, talk)
    title = page.title()
    scroller = page.locator(".scroller")
    scroller.evaluate("element => element.scrollTo(0, -element.scrollHeight)")
    talk.say("one more", "and another")
    offer = page.get_by_role("button", name="2 new messages – show")
    expect(offer).to_be_in_viewport(timeout=20_000)
    expect(page).to_have_title(f"(2) {title}")
    offer.click()
    expect(message(page, talk.timestamps[-1])).to_be_in_viewport()
    expect(page.locator(".unread-line + .message")).to_contain_text("one more")
    expect(page).to_have_title(title)
    # The next ones move the line.
    talk.say("a third")
    page.get_by_role("button", name="1 new message – show").click(timeout=20_000)
    expect(page.locator(".unread-line")).to_have_count(1)
    expect(page.locator(".unread-line + .message")).to_contain_text("a third")


def test_a_reader_far_up_gets_back_to_the_newest_with_one_click(console: Console, page: Page) -> None:
    talk = group_talk(console, 60)
    open_talk(page, talk)
    newest = page.locator("#to-newest")
    expect(newest).to_be_hidden()
    page.locator(".scroller").evaluate("element => element.scrollTo(0, -element.scrollHeight)")
    newest.click()
    expect(message(page, talk.timestamps[-1])).to_be_in_viewport()
    expect(newest).to_be_hidden()


def test_a_row_that_a_filter_leaves_alone_has_its_header(console: Console, page: Page) -> None:
    talk = group_talk(console, 1)
    talk.say("first words", "second words", sender="member-7")
    open_talk(page, talk)
    second = message(page, talk.timestamps[-1])
    expect(second).to_have_class(re.compile("continues"))
    page.locator("#filter").fill("second")
    expect(message(page, talk.timestamps[-2])).to_be_hidden()
    expect(second).not_to_have_class(re.compile("continues"))
    page.locator("#filter").fill("")
    expect(second).to_have_class(re.compile("continues"))


def test_a_row_of_one_line_is_24_pixels_high(console: Console, page: Page) -> None:
    talk = group_talk(console, 1)
    talk.say("first words", "second words", sender="member-7")
    open_talk(page, talk)
    box = message(page, talk.timestamps[-1]).bounding_box()
    assert box and box["height"] <= 24


def test_after_a_recall_one_stays_and_a_letter_cancels_it(console: Console, page: Page) -> None:
    talk = group_talk(console, 5)
    open_talk(page, talk)
    tick(page, talk.timestamps[3])
    review(page)
    page.locator("button[name=confirm]").click()
    toast = page.locator("#toast")
    expect(toast).to_contain_text("Recalling 1 message")
    expect(page.locator("#toast-cancel")).to_be_focused()
    expect(message(page, talk.timestamps[3])).to_be_visible()
    page.keyboard.press("z")
    expect(page.locator("body")).to_contain_text("The recall of 1 message was cancelled.")
    expect(toast).to_contain_text("Cancelled before anything was sent.")
    assert talk.calls == []
    toast.get_by_role("link", name="Close").click()
    expect(toast).to_have_count(0)
    assert "recall=" not in page.url


def test_a_click_on_a_name_shows_the_sender_beside_the_messages(console: Console, page: Page) -> None:
    talk = group_talk(console, 1)
    talk.say("buy now", "buy today", sender="member-8")
    open_talk(page, talk)
    tick(page, talk.timestamps[0])
    name = message(page, talk.timestamps[1]).locator(".who a")
    name.click()
    panel = page.locator("#sender-panel")
    expect(panel).to_be_focused()
    expect(panel).to_contain_text("buy today")
    expect(panel.get_by_role("link", name="Recall everywhere…")).to_be_visible()
    expect(page.locator("#recall-form")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(name).to_be_focused()
    expect(page.locator("#sum")).to_have_text("1 message · 1 request")
    # From the name to the form that is filled with everything of this sender.
    name.click()
    panel.get_by_role("link", name="Recall everywhere…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("New sweep")
    expect(page.locator("[name=sender]")).to_have_value("member-8")
