"""Taking messages back with the mouse: from signing in to the audit log."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console, sign_in
from tests.browser.steps import (
    SEEN_BY_CLIENTS,
    Talk,
    codes,
    confirm,
    group_talk,
    load_older,
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
    expect(page.locator("#sum")).to_have_text("2 messages → 1 call")
    review(page)
    expect(page.locator(".review-sum")).to_contain_text("2 timestamps → 1 call to GoEasy")
    expect(page.locator(".review")).to_contain_text("客服 Support")
    assert talk.calls == []
    confirm(page)
    wait_until(page, "accepted")
    expect(page.locator("#recall-sentence")).to_have_text("Accepted. GoEasy took back all 2 timestamps.")
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
    expect(rows.locator(".field-actor")).to_have_text("mo")
    expect(rows.locator(".field-code")).to_have_text("200")
    rows.locator("th a").click()
    for known in ("mo", "200", *map(str, wanted), "客服 Support"):
        expect(admin.locator("#content")).to_contain_text(known)
    expect(admin.locator("#content")).not_to_contain_text(console.sandbox.appkey)


def test_forty_five_messages_are_three_calls_and_their_number_has_to_be_typed(
    console: Console, open_browser: OpenBrowser
) -> None:
    talk = group_talk(console, 48)
    wanted = talk.timestamps[1:46]
    page = open_browser()
    open_talk(page, talk)
    message(page, wanted[0]).locator(".tick").click()
    message(page, wanted[-1]).locator(".tick").click(modifiers=["Shift"])
    expect(page.locator("#sum")).to_have_text("45 messages → 3 calls")
    review(page)
    expect(page.locator(".review-sum")).to_contain_text("45 timestamps → 3 calls to GoEasy")
    page.get_by_text("The exact calls").click()
    expect(page.locator(".review details pre")).to_have_count(3)
    expect(page.locator(".review")).not_to_contain_text(console.sandbox.appkey)

    page.locator("#id_typed_count").fill("46")
    page.locator("button[name=confirm]").click()
    expect(page.locator("#id_typed_count_error")).to_have_text("Type 45 to confirm that this many go.")
    confirm(page, typed=45)
    wait_until(page, "accepted")
    assert codes(page) == ["200", "200", "200"]
    # Calls go out at once, so they arrive in any order.
    assert sorted(talk.calls) == [wanted[:20], wanted[20:40], wanted[40:]]
    assert list(talk.recalled) == wanted


def test_all_from_a_sender_are_selected_the_whole_archive_over(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 80, senders=2)
    page = open_browser()
    open_talk(page, talk)
    expect(page.locator("#messages .message")).to_have_count(60)
    row = message(page, talk.timestamps[-1])
    row.hover()
    row.get_by_role("button", name="All from sender").click()
    expect(page.locator("#sum")).to_have_text("40 messages → 2 calls")
    expect(page.locator("#picked-senders")).to_have_text(re.compile(r"^\s*Member-2\s*40\s*$"))
    review(page)
    confirm(page, typed=40)
    wait_until(page, "accepted")
    assert list(talk.recalled) == talk.timestamps[1::2]


def test_a_span_of_time_is_selected_in_the_moderators_zone(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, *(f"message {n}" for n in range(10)))
    wanted = talk.timestamps[3:8]
    page = open_browser()
    open_talk(page, talk)
    page.locator("#select-more summary").click()
    for name, timestamp in (("since", wanted[0]), ("until", wanted[-1])):
        at = datetime.fromtimestamp(timestamp // 1000, ZoneInfo("Asia/Shanghai"))
        page.locator(f"#{name}").fill(at.strftime("%Y-%m-%dT%H:%M:%S"))
    page.locator("#select-span").click()
    expect(page.locator("#told")).to_have_text("Added: 5. Selected: 5.")
    for timestamp in talk.timestamps:
        expect(message(page, timestamp).locator("input")).to_be_checked(checked=timestamp in wanted)


def test_a_pasted_list_is_cleaned_and_what_was_dropped_is_said(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "one", "two", "three")
    one, two, three = talk.timestamps
    page = open_browser()
    open_talk(page, talk)
    page.locator("#select-more summary").click()
    full_width = str(two).translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    page.locator("#paste").fill(f"{one}, {one}\n{full_width}，{three + 5}\n{one // 1000}")
    page.locator("#select-pasted").click()
    told = page.locator("#told")
    expect(told).to_contain_text("Added: 3. Selected: 3.")
    expect(told).to_contain_text("Not in the archive, selected all the same: 1.")
    expect(told).to_contain_text(f"“{one // 1000}” has 10 digits, so it is in seconds")
    # What was not understood is left to be put right.
    expect(page.locator("#paste")).to_have_value(str(one // 1000))
    page.locator("#paste").fill("")
    review(page)
    expect(page.locator(".review")).to_contain_text("1 timestamp is not in the archive: no evidence will be kept of it.")
    confirm(page)
    wait_until(page, "accepted")
    assert talk.calls == [[one, two, three + 5]]
    assert list(talk.recalled) == [one, two]


def test_ids_and_timestamps_are_enough_without_opening_the_conversation(
    console: Console, open_browser: OpenBrowser
) -> None:
    talk = group_talk(console, 3)
    page = open_browser()
    page.goto("/recalls/new/")
    page.locator("input[name=kind][value=group]").check()
    page.locator("input[name=group_id]").fill(talk.name)
    page.locator("textarea[name=timestamps]").fill(f"{talk.timestamps[0]} {talk.timestamps[0]}\n{talk.timestamps[2]}")
    page.locator("select[name=reason]").select_option("fraud")
    page.get_by_role("button", name="Review").click()
    expect(page.locator(".review")).to_contain_text("1 timestamp was given twice and counts once.")
    # Read from GoEasy for the review: nobody should confirm what they cannot see.
    expect(page.locator(".review-messages li")).to_have_count(2)
    confirm(page)
    wait_until(page, "accepted")
    assert list(talk.recalled) == [talk.timestamps[0], talk.timestamps[2]]


def test_a_selection_is_kept_over_older_pages_and_a_reload(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 130)
    wanted = [talk.timestamps[0], talk.timestamps[-1]]
    page = open_browser()
    open_talk(page, talk)
    tick(page, wanted[1])
    load_older(page, wanted[0])
    tick(page, wanted[0])
    expect(page.locator("#messages .message")).to_have_count(130)
    expect(page.locator("#sum")).to_have_text("2 messages → 1 call")
    page.reload()
    expect(message(page, wanted[0])).to_have_count(0)
    expect(message(page, wanted[1]).locator("input")).to_be_checked()
    expect(page.locator("#sum")).to_have_text("2 messages → 1 call")
    review(page)
    confirm(page)
    wait_until(page, "accepted")
    assert list(talk.recalled) == wanted
    page.locator("aside .facts a").first.click()
    # What went out with the recall is selected no longer.
    expect(page.locator("#sum")).to_have_text("Nothing is selected.")


def test_a_recall_that_is_called_off_in_time_sends_nothing(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "sorry", "never mind")
    page = open_browser()
    open_talk(page, talk)
    tick(page, *talk.timestamps)
    review(page)
    expect(page.locator(".review")).to_contain_text("For 3 seconds after that it can still be called off.")
    confirm(page)
    expect(page.locator(".countdown")).to_be_visible()
    page.get_by_role("button", name="Call it off").click()
    wait_until(page, "cancelled")
    expect(page.locator("#recall-sentence")).to_have_text("Called off before anything left. GoEasy was asked nothing.")
    # Past the time at which it would have left.
    time.sleep(3.5)
    assert talk.calls == []
    assert talk.recalled == {}


def test_a_double_click_on_the_confirmation_is_one_recall(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "once", "only")
    page = open_browser()
    open_talk(page, talk)
    tick(page, talk.timestamps[0])
    review(page)
    page.locator("button[name=confirm]").dblclick(no_wait_after=True)
    wait_until(page, "accepted")
    recall = page.url
    page.goto(f"/open/?q={talk.name}")
    past = page.locator(".past li a")
    expect(past).to_have_count(1)
    assert recall.endswith(past.get_attribute("href") or "?")
    assert talk.calls == [[talk.timestamps[0]]]


def test_going_back_and_confirming_again_is_the_same_recall(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "once", "only")
    page = open_browser()
    open_talk(page, talk)
    tick(page, talk.timestamps[0])
    review(page)
    confirm(page)
    recall = page.url
    wait_until(page, "accepted")
    page.go_back()
    expect(page.locator(".review h1")).to_be_visible()
    confirm(page)
    assert page.url == recall
    wait_until(page, "accepted")
    assert talk.calls == [[talk.timestamps[0]]]
