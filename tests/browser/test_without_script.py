"""The plain path needs no script: open, tick, submit, confirm, read the result."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console
from tests.browser.steps import Talk, codes, confirm, group_talk, message, private_talk, review, tick

OpenBrowser = Callable[..., Page]


@pytest.fixture
def open_plain(open_browser: OpenBrowser) -> OpenBrowser:
    """A function that opens a browser without script."""
    return lambda username="mo", **options: open_browser(username, java_script_enabled=False, **options)


def open_by_ids(page: Page, talk: Talk) -> None:
    """Through the form: without script it shows the fields of both kinds."""
    page.goto("/conversations/open/")
    page.locator(f"input[name=kind][value={talk.conversation['kind']}]").check()
    for name in ("user_a", "user_b", "group_id"):
        if name in talk.conversation:
            page.locator(f"input[name={name}]").fill(talk.conversation[name])
    page.locator("main form button.primary").click()
    expect(message(page, talk.timestamps[-1])).to_be_visible()


def read_result(page: Page, state: str) -> None:
    """Reload, as the page proposes, until the recall is over."""
    pill = page.locator(f"#recall-pill .pill.{state}")
    while not pill.count():
        page.get_by_role("link", name="Refresh").click()
        page.wait_for_timeout(300)


def test_messages_are_taken_back_without_script(console: Console, open_plain: OpenBrowser) -> None:
    talk = private_talk(console, "hello", "spam", "more spam")
    page = open_plain()
    open_by_ids(page, talk)
    tick(page, *talk.timestamps[1:])
    page.locator("#recall_note").fill("reported twice")
    review(page)
    expect(page.locator(".review-sum")).to_contain_text("2 messages · 1 request")
    expect(page.locator(".review")).to_contain_text("reported twice")
    confirm(page)
    read_result(page, "accepted")
    assert codes(page) == ["200"]
    assert list(talk.recalled) == talk.timestamps[1:]


def test_ticks_and_words_are_kept_while_pages_are_turned(console: Console, open_plain: OpenBrowser) -> None:
    talk = group_talk(console, 130)
    wanted = [talk.timestamps[0], talk.timestamps[60], talk.timestamps[-1]]
    page = open_plain()
    open_by_ids(page, talk)
    tick(page, wanted[2])
    page.locator("#recall_note").fill("kept")
    page.locator("#recall_reason").select_option("fraud")
    page.get_by_role("button", name="Older messages").click()
    expect(page.locator("#sum")).to_have_text("1 more selected on other pages")
    tick(page, wanted[1])
    page.get_by_role("button", name="Older messages").click()
    expect(page.locator("#sum")).to_have_text("2 more selected on other pages")
    tick(page, wanted[0])
    # Back to where it is ticked already: it is not forgotten, and it is not doubled.
    page.get_by_role("button", name="Newer messages").click()
    expect(message(page, wanted[1]).locator("input")).to_be_checked()
    expect(page.locator("#recall_note")).to_have_value("kept")
    expect(page.locator("#recall_reason")).to_have_value("fraud")
    page.locator("#review").click()
    expect(page.locator(".review-sum")).to_contain_text("3 messages · 1 request")
    confirm(page)
    read_result(page, "accepted")
    assert list(talk.recalled) == wanted


def test_a_missing_field_is_named_and_nothing_is_lost(console: Console, open_plain: OpenBrowser) -> None:
    talk = private_talk(console, "one", "two")
    page = open_plain()
    open_by_ids(page, talk)
    tick(page, talk.timestamps[0])
    # The browser itself would not let an empty reason through: ask the server.
    page.locator("#recall-form").evaluate("(form) => (form.noValidate = true)")
    page.locator("#review").click()
    expect(page.locator(".banner.error")).to_contain_text("Nothing was sent. See the fields that are marked: Reason")
    expect(page.locator("textarea[name=timestamps]")).to_have_value(re.compile(rf"^{talk.timestamps[0]}\s*$"))
    expect(page.locator("input[name=user_b]")).to_have_value(talk.conversation["user_b"])
    page.locator("select[name=reason]").select_option("spam")
    page.get_by_role("button", name="Review").click()
    expect(page.locator(".review-sum")).to_contain_text("1 message · 1 request")
    assert talk.calls == []


def test_the_same_form_sent_twice_is_one_recall(console: Console, open_plain: OpenBrowser) -> None:
    talk = private_talk(console, "one")
    page = open_plain()
    open_by_ids(page, talk)
    tick(page, talk.timestamps[0])
    review(page)
    page.locator("button[name=confirm]").dblclick(no_wait_after=True)
    page.wait_for_url(re.compile(r"\?recall="))
    page.locator("#toast").get_by_role("link", name="Details").click()
    recall = page.url
    page.go_back()
    page.go_back()
    confirm(page)
    assert page.url == recall
    read_result(page, "accepted")
    assert talk.calls == [talk.timestamps]


def test_a_recall_is_called_off_without_script(console: Console, open_plain: OpenBrowser) -> None:
    talk = private_talk(console, "one")
    page = open_plain()
    open_by_ids(page, talk)
    tick(page, talk.timestamps[0])
    review(page)
    confirm(page)
    page.get_by_role("button", name="Cancel recall").click()
    expect(page.locator("#recall-pill .pill.cancelled")).to_be_visible()
    assert talk.calls == []


def test_an_auditor_turns_pages_and_is_offered_no_form(console: Console, open_plain: OpenBrowser) -> None:
    talk = group_talk(console, 70)
    moderator = open_plain()
    open_by_ids(moderator, talk)
    page = open_plain("audrey")
    page.goto(moderator.url)
    expect(page.locator("#recall-form, .tick")).to_have_count(0)
    page.get_by_role("link", name="Older messages").click()
    expect(message(page, talk.timestamps[0])).to_be_visible()
    page.get_by_role("link", name="Newer messages").click()
    expect(message(page, talk.timestamps[-1])).to_be_visible()
