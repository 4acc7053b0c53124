"""Taking messages back with the mouse: from signing in to the audit log."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console, sign_in
from tests.browser.pages import look
from tests.browser.steps import (
    SEEN_BY_CLIENTS,
    Talk,
    codes,
    confirm,
    group_talk,
    message,
    open_talk,
    private_talk,
    review,
    tick,
    wait_until,
)

OpenBrowser = Callable[..., Page]


@pytest.fixture(params=["private", "group"])
def talk(request: pytest.FixtureRequest, console: Console) -> Talk:
    """A few messages, in a private conversation and in a group."""
    if request.param == "group":
        return group_talk(console, 4, senders=2)
    return private_talk(console, "hello", "buy followers now", "cheap followers", "how are you?")


def test_messages_are_taken_back_and_the_response_code_is_in_the_audit_log(
    console: Console, open_browser: OpenBrowser, talk: Talk
) -> None:
    page = open_browser(None)
    sign_in(page, "mo")
    open_talk(page, talk)
    wanted = talk.timestamps[1:3]
    tick(page, *wanted)
    expect(page.locator("#sum")).to_have_text("2 messages · 1 request")
    review(page)
    expect(page.locator(".review-sum")).to_contain_text("2 messages · 1 request")
    expect(page.locator(".review")).to_contain_text("客服 Support")
    assert talk.calls == []
    confirm(page)
    wait_until(page, "accepted")
    expect(page.locator("#recall-sentence")).to_have_text("Accepted. GoEasy answered with success for all 2 messages.")
    assert codes(page) == ["200"]
    # Clients see the pseudonym; "mo" is for the log alone.
    assert talk.recalled == dict.fromkeys(wanted, SEEN_BY_CLIENTS)
    assert talk.calls == [wanted]

    page.locator("aside .facts a").first.click()
    expect(message(page, wanted[0]).locator(".notes")).to_contain_text("Recalled by 客服 Support")
    expect(message(page, wanted[0]).locator(".tick input")).to_be_disabled()
    expect(message(page, talk.timestamps[0]).locator(".pill")).to_have_count(0)

    admin = open_browser("ada")
    admin.goto("/admin/")
    admin.locator("#content-main a[href$='/audit/auditentry/']").first.click()
    filters = admin.locator("#changelist-filter")
    filters.locator("input[name=response_code][value='200']").check()
    filters.locator("textarea[name=conversation]").fill(talk.name)
    filters.get_by_role("button", name="Filter").click()
    rows = admin.locator("#result_list tbody tr")
    expect(rows).to_have_count(1)
    expect(rows.locator(".field-sentence")).to_contain_text("mo")
    expect(rows.locator(".field-sentence")).to_contain_text("200")
    rows.locator("th a").click()
    entry = admin.locator("#content")
    for known in ("mo", "200", *map(str, wanted)):
        expect(entry).to_contain_text(known)
    entry.get_by_role("link", name="request about to be sent").click()
    expect(entry.get_by_role("heading", level=1)).to_contain_text("request about to be sent")
    expect(entry).to_contain_text("客服 Support")
    expect(entry).not_to_contain_text(console.sandbox.appkey)


def test_a_recall_that_is_cancelled_in_time_sends_nothing(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "sorry", "never mind")
    page = open_browser()
    open_talk(page, talk)
    tick(page, *talk.timestamps)
    review(page)
    expect(page.locator(".review")).to_contain_text("You can cancel for 2 seconds.")
    page.locator("button[name=confirm]").click()
    expect(page.locator("#toast .countdown")).to_be_visible()
    page.get_by_role("button", name="Cancel recall").click()
    expect(page.locator("#toast")).to_contain_text("Cancelled before anything was sent.")
    # Past the time at which it would have left.
    time.sleep(2.5)
    assert talk.calls == []
    assert talk.recalled == {}


def test_a_double_click_on_the_confirmation_is_one_recall(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "once", "only")
    page = open_browser()
    open_talk(page, talk)
    tick(page, talk.timestamps[0])
    review(page)
    page.locator("button[name=confirm]").dblclick(no_wait_after=True)
    page.locator("#toast").get_by_role("link", name="Details").click()
    wait_until(page, "accepted")
    recall = page.url
    page.goto("/open/?q={user_a}/{user_b}".format_map(talk.conversation))
    past = page.locator(".past li a")
    expect(past).to_have_count(1)
    assert recall.endswith(past.get_attribute("href") or "?")
    assert talk.calls == [[talk.timestamps[0]]]


def test_going_back_and_confirming_again_is_the_same_recall(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "once", "only")
    page = open_browser()
    open_talk(page, talk)
    tick(page, talk.timestamps[0])
    page.locator("#recall_reason").select_option("spam")
    # As a page of its own, which the browser's history has.
    page.locator("#recall-form").evaluate("form => form.submit()")
    confirm(page)
    recall = page.url
    wait_until(page, "accepted")
    # To the conversation, and to the review.
    page.go_back()
    expect(page.locator("#toast")).to_be_visible()
    page.go_back()
    expect(page.locator(".review h1")).to_be_visible()
    confirm(page)
    assert page.url == recall
    wait_until(page, "accepted")
    assert talk.calls == [[talk.timestamps[0]]]


def test_progress_is_shown_as_it_happens(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 41)
    console.sandbox.set_faults([{"on": "recall", "kind": "latency", "ms": 1500}])
    page = open_browser()
    open_talk(page, talk)
    tick(page, talk.timestamps[0])
    message(page, talk.timestamps[-1]).locator(".tick").click(modifiers=["Shift"])
    review(page)
    confirm(page, typed=41)
    page.locator("#messages details summary").first.click()
    wait_until(page, "sending")
    expect(page.locator("#recall-sentence")).to_contain_text("1 of 3 requests are done")
    expect(page.locator("#recall-status progress")).to_have_js_property("value", 1)
    assert look(page) == []
    wait_until(page, "accepted")
    assert codes(page) == ["200", "200", "200"]
    # What was being read is still open: the page was not loaded again.
    expect(page.locator("#messages details[open]")).to_have_count(1)
