"""Selecting many messages, all of a sender's, a span of time or a pasted list, and keeping the selection."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Console, sign_in
from tests.browser.steps import (
    codes,
    confirm,
    group_talk,
    is_ready,
    load_older,
    message,
    open_talk,
    private_talk,
    review,
    tick,
    wait_until,
)

OpenBrowser = Callable[..., Page]


def test_forty_five_messages_are_three_calls_and_their_number_has_to_be_typed(
    console: Console, open_browser: OpenBrowser
) -> None:
    talk = group_talk(console, 48)
    wanted = talk.timestamps[1:46]
    page = open_browser()
    open_talk(page, talk)
    message(page, wanted[0]).locator(".tick").click()
    message(page, wanted[-1]).locator(".tick").click(modifiers=["Shift"])
    expect(page.locator("#sum")).to_have_text("45 messages · 3 requests")
    review(page)
    expect(page.locator(".review-sum")).to_contain_text("45 messages · 3 requests")
    page.get_by_text("Requests to GoEasy").click()
    expect(page.locator(".review details pre")).to_have_count(3)
    expect(page.locator(".review")).not_to_contain_text(console.sandbox.appkey)

    page.locator("#id_typed_count").fill("46")
    page.locator("button[name=confirm]").click()
    expect(page.locator("#id_typed_count_error")).to_have_text("Type 45 to confirm the number of messages.")
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
    expect(page.locator("#sum")).to_have_text("40 messages · 2 requests")
    expect(page.locator("#picked-senders")).to_have_text(re.compile(r"^\s*Member-2\s*40\s*everywhere…\s*$"))
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
    expect(page.locator("#selection-status")).to_have_text("Added: 5. Selected: 5.")
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
    status = page.locator("#selection-status")
    expect(status).to_contain_text("Added: 3. Selected: 3.")
    expect(status).to_contain_text("Not in the archive, selected all the same: 1.")
    expect(status).to_contain_text(f"“{one // 1000}” has 10 digits, so it is in seconds")
    # What was not understood is left to be put right.
    expect(page.locator("#paste")).to_have_value(str(one // 1000))
    page.locator("#paste").fill("")
    review(page)
    expect(page.locator(".review")).to_contain_text("1 message is not in the archive: no evidence will be kept of it.")
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
    expect(page.locator(".review-messages li:not(.neighbour)")).to_have_count(2)
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
    expect(page.locator("#sum")).to_have_text("2 messages · 1 request")
    page.reload()
    expect(message(page, wanted[0])).to_have_count(0)
    expect(message(page, wanted[1]).locator("input")).to_be_checked()
    expect(page.locator("#sum")).to_have_text("2 messages · 1 request")
    review(page)
    confirm(page)
    wait_until(page, "accepted")
    assert list(talk.recalled) == wanted
    page.locator("aside .facts a").first.click()
    # What went out with the recall is selected no longer.
    expect(page.locator("#sum")).to_have_text("Nothing is selected.")


def test_a_tick_that_is_quicker_than_the_script_is_kept(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "one", "two")
    page = open_browser()
    held: list[Route] = []
    page.route("**/js/conversation.*.js", lambda route: held.append(route))
    page.goto("/conversations/open/?kind=private&user_a={user_a}&user_b={user_b}".format_map(talk.conversation))
    page.locator("main form button.primary").click(no_wait_after=True)
    tick(page, talk.timestamps[0])
    assert held
    for route in held:
        route.continue_()
    is_ready(page, talk)
    expect(page.locator("#sum")).to_have_text("1 message · 1 request")
    expect(message(page, talk.timestamps[0]).locator("input")).to_be_checked()


def test_a_time_that_is_none_is_named_and_selects_nothing(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "one", "two")
    page = open_browser()
    open_talk(page, talk)
    page.locator("#select-more summary").click()
    since, status = page.locator("#since"), page.locator("#selection-status")
    page.locator("#until").fill("2999-12-31T23:59:59")
    # Half-typed: the browser has no value for it, and what is left would select both messages.
    since.focus()
    page.keyboard.type("12")
    since.press("Enter")
    expect(status).to_have_text(
        "“From” is not a date and time yet: fill in every part of it, or clear the field.",
    )
    expect(since).to_have_attribute("aria-invalid", "true")
    expect(since).to_be_focused()
    # The year 2, on the way to 2026.
    since.fill("0002-01-01T00:00:00")
    expect(since).not_to_have_attribute("aria-invalid", "true")
    page.locator("#select-span").click()
    expect(status).to_contain_text("“From” is not a date and time yet")
    # Mistakes here do not keep the recall's own form from going.
    tick(page, talk.timestamps[0])
    review(page)
    page.keyboard.press("Escape")
    is_ready(page, talk)

    # A browser that has no such field takes any text; the server then says no.
    page.locator("#clear").click()
    since.evaluate("(field) => { field.type = 'text'; field.value = 'yesterday'; }")
    page.locator("#select-span").click()
    expect(status).to_have_text(
        "That is not a date and time: yesterday. Give one like 2026-01-31T09:30:00, or clear the field.",
    )
    expect(page.locator("#sum")).to_have_text("Nothing is selected.")
    since.fill("")
    page.locator("#until").fill("2999-12-31T23:59:59")
    page.locator("#select-span").click()
    expect(status).to_have_text("Added: 2. Selected: 2.")


def test_a_selection_is_not_the_next_persons(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "one", "two")
    kept = "Object.keys(sessionStorage).filter((key) => key.startsWith('selection-'))"
    # Signing out ends the session, so it is one that no other test uses.
    page = open_browser(None)
    sign_in(page, "lea")
    open_talk(page, talk)
    address = page.url
    tick(page, *talk.timestamps)
    expect(page.locator("#sum")).to_have_text("2 messages · 1 request")
    assert len(page.evaluate(kept)) == 1
    page.locator(".person-menu summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.evaluate(kept) == []

    sign_in(page, "mo")
    page.goto(address)
    is_ready(page, talk)
    expect(page.locator("#sum")).to_have_text("Nothing is selected.")
    expect(page.locator("#messages .tick input:checked")).to_have_count(0)
