"""GoEasy refuses, times out, is unreachable or busy: the page shows what is known, and nothing is sent twice."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Console
from tests.browser.steps import (
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


def recall_all(page: Page, talk: Talk) -> None:
    """Select every message of a short talk and recall them; to the recall's page."""
    open_talk(page, talk)
    tick(page, talk.timestamps[0])
    if len(talk.timestamps) > 1:
        message(page, talk.timestamps[-1]).locator(".tick").click(modifiers=["Shift"])
    review(page)
    confirm(page, typed=len(talk.timestamps) if len(talk.timestamps) > 20 else None)


def test_a_refused_key_stops_the_recall_and_the_rest_can_be_sent_later(
    console: Console, open_browser: OpenBrowser
) -> None:
    talk = group_talk(console, 45)
    console.sandbox.set_faults([{"on": "recall", "kind": "refuse", "code": 401, "content": "Unauthorized"}])
    page = open_browser()
    recall_all(page, talk)
    wait_until(page, "stopped")
    banner = page.locator(".banner.error", has_text="GoEasy refused the key.")
    expect(banner).to_be_visible()
    expect(banner).to_contain_text("GOEASY_APPKEY")
    expect(banner).to_contain_text("What was not sent stays unsent until then.")
    assert codes(page) == ["401"]
    expect(page.locator("table.calls .pill")).to_have_text(["refused", "not sent", "not sent"])
    assert len(talk.calls) == 1
    assert talk.recalled == {}
    recall = page.url
    page.goto("/")
    needs = page.locator("section", has_text="Action needed").locator(".recall-line", has_text=talk.name)
    expect(needs).to_contain_text("GoEasy refused the key. Put it right, then send the rest again.")

    console.sandbox.clear_faults()
    page.goto(recall)
    page.get_by_role("button", name=re.compile(r"Retry \d+ message")).click()
    wait_until(page, "accepted")
    assert codes(page) == ["401", "200", "200", "200"]
    expect(banner).to_have_count(0)
    assert list(talk.recalled) == talk.timestamps
    assert len(talk.calls) == 4


def test_an_answer_that_never_comes_is_unknown_and_is_not_sent_again(
    console: Console, open_browser: OpenBrowser
) -> None:
    talk = private_talk(console, "one", "two")
    console.sandbox.set_faults([{"on": "recall", "kind": "drop_after"}])
    page = open_browser()
    recall_all(page, talk)
    wait_until(page, "unknown")
    expect(page.locator("#recall-sentence")).to_contain_text("Outcome unknown for 2 messages")
    banner = page.locator(".banner.warning", has_text="Outcome unknown for 2 messages.")
    expect(banner).to_contain_text("no usable answer came")
    expect(banner).to_contain_text("Nothing is sent again by itself.")
    expect(page.locator("#send-again")).to_have_count(0)
    assert codes(page) == ["–"]
    recall, since = page.url, time.monotonic()

    # The conversation tells what GoEasy's history tells: they are gone.
    banner.get_by_role("link", name="Open the conversation").click()
    expect(message(page, talk.timestamps[0]).locator(".notes")).to_contain_text("Recalled")
    expect(message(page, talk.timestamps[0]).locator(".notes")).to_contain_text("Our recall: unknown")

    auditor = open_browser("audrey")
    auditor.goto(recall)
    auditor.get_by_role("link", name="View in audit log").click()
    expect(auditor.locator("#result_list .field-code .pill")).to_have_text("no answer")
    # Longer than the worker takes to look for work that was left behind.
    time.sleep(max(0.0, since + 6 - time.monotonic()))
    assert talk.calls == [talk.timestamps]


def test_a_lost_answer_is_settled_by_history_while_the_page_is_open(
    console: Console, open_browser: OpenBrowser
) -> None:
    talk = private_talk(console, "one", "two")
    console.sandbox.set_faults([{"on": "recall", "kind": "drop_after"}])
    page = open_browser()
    recall_all(page, talk)
    wait_until(page, "unknown")
    expect(page.locator(".verified")).to_contain_text("Checking GoEasy’s history…")
    expect(page.locator(".verified .pill.gone")).to_have_text("2 verified as removed", timeout=30_000)
    expect(page.locator("#recall-sentence")).to_contain_text("The outcome of 2 messages was unknown; that is settled.")
    expect(page.get_by_text("the outcome is unknown")).to_have_count(0)
    expect(page.locator("table.calls")).to_contain_text("History shows that the messages were removed")
    expect(page.locator(".evidence .pill.gone")).to_have_count(2)
    expect(page.locator("#settle")).to_have_count(0)
    assert talk.calls == [talk.timestamps]
    page.goto("/")
    for section in ("needs-title", "under-way-title"):
        expect(page.locator(f"[aria-labelledby={section}] .recall-line", has_text=talk.name)).to_have_count(0)


def test_a_call_without_effect_is_shown_as_still_visible_and_sent_again(
    console: Console, open_browser: OpenBrowser
) -> None:
    talk = private_talk(console, "one")
    console.sandbox.set_faults([{"on": "recall", "kind": "refuse", "code": 200, "content": "OK"}])
    page = open_browser()
    recall_all(page, talk)
    wait_until(page, "accepted")
    console.sandbox.clear_faults()
    expect(page.locator(".verified .pill.still-visible")).to_have_text("1 still visible", timeout=30_000)
    expect(page.locator("#settle")).to_be_visible()
    page.locator("#send-again").click()
    expect(page.locator(".verified .pill.gone")).to_have_text("1 verified as removed", timeout=30_000)
    expect(page.locator("#settle")).to_have_count(0)
    assert list(talk.recalled) == talk.timestamps
    assert codes(page) == ["200", "200"]


def test_a_person_decides_where_history_proves_nothing_and_typing_survives_polling(
    console: Console, open_browser: OpenBrowser
) -> None:
    talk = private_talk(console, "one")
    console.sandbox.set_faults([{"on": "recall", "kind": "drop_after"}])
    page = open_browser()
    open_talk(page, talk)
    tick(page, talk.timestamps[0])
    review(page)
    console.sandbox.set_faults(
        [{"on": "recall", "kind": "drop_after"}, {"on": "history", "kind": "status", "status": 500}]
    )
    confirm(page)
    wait_until(page, "unknown")
    expect(page.locator("#settle")).to_be_visible(timeout=30_000)
    page.get_by_label("leave as is").check()
    page.get_by_label("Note", exact=True).fill("the user left")
    page.get_by_role("button", name="Record the decision").click()
    expect(page.locator(".toast, .messages")).to_contain_text("Your decision on 1 request was recorded.")
    expect(page.locator("table.calls")).to_contain_text("decided to leave it as is")
    expect(page.locator("table.calls")).to_contain_text("the user left")
    assert talk.calls == [talk.timestamps]


def test_a_page_that_is_not_goeasys_is_unknown_and_shown_as_text(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "one")
    console.sandbox.set_faults([{"on": "recall", "kind": "html", "status": 502}])
    page = open_browser()
    recall_all(page, talk)
    wait_until(page, "unknown")
    expect(page.locator("table.calls td[data-label='HTTP status']")).to_have_text("502")
    expect(page.locator("table.calls")).to_contain_text("<h1>502 Bad Gateway</h1>")
    assert len(talk.calls) == 1


def test_a_call_that_goeasy_puts_off_is_sent_again_when_goeasy_says(
    console: Console, open_browser: OpenBrowser
) -> None:
    talk = private_talk(console, "one", "two")
    console.sandbox.set_faults([{"on": "recall", "kind": "status", "status": 429, "retry_after": 1, "times": 1}])
    page = open_browser()
    recall_all(page, talk)
    wait_until(page, "accepted")
    assert page.locator("table.calls td[data-label='HTTP status']").all_inner_texts() == ["429", "200"]
    first, second = (call["at_ms"] for call in console.sandbox.calls("recall")[-2:])
    assert second - first >= 1000
    assert talk.calls == [talk.timestamps, talk.timestamps]
    assert list(talk.recalled) == talk.timestamps


def test_when_goeasy_is_away_the_archive_is_shown_and_that_is_said(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "kept", "and this")
    page = open_browser()
    open_talk(page, talk)
    conversation = page.url
    console.sandbox.set_faults([{"on": "history", "kind": "drop_before"}])
    page.goto(conversation)
    banner = page.locator(".banner.warning", has_text="this is what the archive has")
    expect(banner).to_be_visible()
    expect(message(page, talk.timestamps[0])).to_contain_text("kept")
    page.goto("/")
    expect(page.locator(".home-banners")).to_contain_text("GoEasy does not answer")

    # One that was never opened is not called empty: nothing is known.
    stranger = private_talk(console, "unseen")
    page.goto("/conversations/open/?kind=private&user_a={user_a}&user_b={user_b}".format_map(stranger.conversation))
    page.locator("main form button.primary").click()
    expect(banner).to_be_visible()
    expect(page.locator("#messages")).to_contain_text("No messages in the archive here.")
    expect(page.locator("#messages")).to_contain_text("GoEasy may know more.")

    console.sandbox.clear_faults()
    banner.get_by_role("link", name="Try again").click()
    expect(message(page, stranger.timestamps[0])).to_contain_text("unseen")
    expect(banner).to_have_count(0)
