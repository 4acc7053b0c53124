"""An ended session loses nothing: the page says so, and typed text is restored for the same person."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD, Console, sign_in
from tests.browser.steps import Talk, is_ready, open_talk, private_talk, tick

OpenBrowser = Callable[..., Page]
NOTE = "Reported by three members."


def end_session(page: Page) -> None:
    page.context.clear_cookies(name="sessionid")


def sign_in_here(page: Page, username: str) -> None:
    """On the sign-in page that is open, to wherever it leads."""
    page.fill("input[name=username]", username)
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda address: "/login/" not in address)


@pytest.fixture
def talk(console: Console) -> Talk:
    return private_talk(console, "one", "two", "three")


@pytest.fixture
def prepared(open_browser: OpenBrowser, talk: Talk) -> Page:
    """Mo's page with three messages selected, a reason and a note; then the session ends."""
    page = open_browser(None)
    sign_in(page, "mo")
    open_talk(page, talk)
    tick(page, *talk.timestamps)
    page.locator("#recall_reason").select_option(index=1)
    page.fill("#recall_note", NOTE)
    end_session(page)
    return page


def all_is_there(page: Page) -> None:
    expect(page.locator("#sum")).to_have_text("3 messages · 1 request")
    expect(page.locator("#recall_note")).to_have_value(NOTE)
    expect(page.locator("#recall_reason")).not_to_have_value("")
    expect(page.locator("#typed-kept")).to_be_visible()


def test_a_recall_posted_after_the_session_ended_is_there_again(prepared: Page, talk: Talk) -> None:
    page = prepared
    page.click("#review")
    page.wait_for_url(re.compile("/accounts/login/"))
    sign_in_here(page, "mo")
    is_ready(page, talk)
    all_is_there(page)
    page.click("#review")
    expect(page.locator(".review h1")).to_have_text("Review recall")
    expect(page.locator(".review .facts")).to_contain_text(NOTE)


def test_news_that_finds_no_session_says_so_and_everything_is_there_again(prepared: Page, talk: Talk) -> None:
    page = prepared
    # As the page does by itself every few seconds.
    page.evaluate("htmx.ajax('GET', `${location.pathname}news/?after=0-0`, { source: '#news', target: '#news' })")
    notice = page.locator("#signed-out")
    expect(notice).to_be_visible()
    expect(notice).to_contain_text("You have been signed out. Sign in again; what you typed is kept.")
    expect(page.locator("#recall_note")).to_have_value(NOTE)
    notice.get_by_role("link", name="Sign in again").click()
    sign_in_here(page, "mo")
    is_ready(page, talk)
    all_is_there(page)


def test_selecting_in_an_ended_session_says_so(prepared: Page) -> None:
    prepared.locator("[data-all]").first.click()
    expect(prepared.locator("#signed-out")).to_be_visible()


def test_filtering_in_an_ended_session_says_so(prepared: Page) -> None:
    prepared.locator("#filter").fill("spam")
    expect(prepared.locator("#signed-out")).to_be_visible()


def test_another_person_finds_nothing(prepared: Page, talk: Talk) -> None:
    page = prepared
    address = page.url
    page.click("#review")
    page.wait_for_url(re.compile("/accounts/login/"))
    sign_in_here(page, "lea")
    page.goto(address)
    is_ready(page, talk)
    expect(page.locator("#sum")).to_have_text("Nothing is selected.")
    expect(page.locator("#recall_note")).to_have_value("")
    expect(page.locator("#typed-kept")).to_be_hidden()
    assert NOTE not in page.evaluate("JSON.stringify({...sessionStorage})")


def test_signing_out_erases_what_was_typed(open_browser: OpenBrowser) -> None:
    page = open_browser(None)
    sign_in(page, "mo")
    page.goto("/recalls/new/")
    page.fill("[name=note]", NOTE)
    assert NOTE in page.evaluate("JSON.stringify({...sessionStorage})")
    page.locator(".person-menu summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert NOTE not in page.evaluate("JSON.stringify({...sessionStorage})")
    sign_in(page, "mo")
    page.goto("/recalls/new/")
    expect(page.locator("[name=note]")).to_have_value("")


def test_a_form_that_was_left_is_empty_the_next_time(open_browser: OpenBrowser) -> None:
    page = open_browser()
    page.goto("/sweeps/new/")
    page.fill("[name=note]", NOTE)
    page.goto("/")
    page.goto("/sweeps/new/")
    expect(page.locator("[name=note]")).to_have_value("")


def test_what_was_under_review_when_the_session_ended_is_there_again(open_browser: OpenBrowser, talk: Talk) -> None:
    page = open_browser(None)
    sign_in(page, "mo")
    open_talk(page, talk)
    address = page.url
    tick(page, *talk.timestamps)
    page.locator("#recall_reason").select_option(index=1)
    page.fill("#recall_note", NOTE)
    page.click("#review")
    expect(page.locator(".review h1")).to_have_text("Review recall")
    end_session(page)
    page.goto("/recalls/")
    sign_in_here(page, "mo")
    page.goto(address)
    is_ready(page, talk)
    expect(page.locator("#recall_note")).to_have_value(NOTE)
    page.click("#review")
    page.locator("#review-sheet [name=confirm]").click()
    expect(page.locator("#toast")).to_be_visible()
    expect(page.locator("#recall_note")).to_have_value("")


def test_a_form_of_admin_is_filled_in_again_without_its_secrets(open_browser: OpenBrowser) -> None:
    page = open_browser(None)
    sign_in(page, "ada")
    page.goto("/admin/applications/application/add/")
    page.fill("[name=name]", "Second")
    page.fill("[name=new_appkey]", "BC-not-to-be-kept")
    assert "not-to-be-kept" not in page.evaluate("JSON.stringify({...sessionStorage})")
    end_session(page)
    page.click("[name=_save]")
    page.wait_for_url(re.compile("/admin/login/"))
    sign_in_here(page, "ada")
    expect(page.locator("[name=name]")).to_have_value("Second")
    expect(page.locator("[name=new_appkey]")).to_have_value("")
    expect(page.locator("#typed-kept")).to_be_visible()


def test_a_form_that_expired_by_a_sign_in_elsewhere_is_filled_in_again(open_browser: OpenBrowser) -> None:
    page = open_browser(None)
    sign_in(page, "mo")
    page.goto("/recalls/new/")
    page.fill("[name=note]", NOTE)
    end_session(page)
    other = page.context.new_page()
    sign_in(other, "mo")
    page.get_by_role("button", name="Review").click()
    expect(page.locator("h1")).to_have_text("The form has expired")
    page.get_by_role("link", name="Back to the form").click()
    expect(page.locator("[name=note]")).to_have_value(NOTE)


def test_a_second_tab_of_the_sign_in_leads_on(open_browser: OpenBrowser) -> None:
    first = open_browser(None)
    second = first.context.new_page()
    for page in (first, second):
        page.goto("/accounts/login/?next=/recalls/")
    sign_in_here(first, "mo")
    sign_in_here(second, "mo")
    expect(second).to_have_url(re.compile("/recalls/$"))
