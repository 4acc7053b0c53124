"""The list of conversations in a browser: it stays fresh, keeps what is being read in its place, and has keys."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Console
from tests.browser.pages import LOOKS, look
from tests.browser.steps import Talk, group_talk, open_talk

OpenBrowser = Callable[..., Page]

READ = """
from moderation.archive.models import Conversation
from moderation.ingestion.backfill import read_latest
read_latest(Conversation.objects.get(group_id="{name}"), pages=1)
"""


def say_and_archive(console: Console, talk: Talk, text: str) -> None:
    """A new message, now, that is in the archive without anybody having opened the conversation."""
    talk.say(text, sender="member-1", at=time.time_ns() // 1_000_000)
    console.run(READ.format(name=talk.name))


def refresh(page: Page) -> None:
    """Have the list ask for its rows now instead of in 15 seconds, and wait for the answer."""
    with page.expect_response("**/conversations/rows/**"):
        page.locator(".conversation-list").evaluate("(list) => list.dispatchEvent(new Event('refresh'))")


def row(page: Page, talk: Talk) -> str:
    return f".conversation-row:has-text('{talk.name}')"


def test_a_new_message_is_seen_in_the_list_until_somebody_looks(console: Console, open_browser: OpenBrowser) -> None:
    talk, other = group_talk(console, 2), group_talk(console, 2)
    page = open_browser()
    for each in (talk, other):
        open_talk(page, each)
    page.goto("/conversations/")
    unread = page.locator(f"{row(page, talk)}.unread")
    expect(page.locator(row(page, talk))).to_be_visible()
    expect(unread).to_have_count(0)
    say_and_archive(console, talk, "加我微信")
    refresh(page)
    expect(unread.locator(".snippet")).to_have_text(re.compile("Member-1:\\s+加我微信"))
    expect(unread.locator(".new")).to_contain_text("1")
    # It came to the top by its time.
    expect(page.locator(".conversation-row").first).to_contain_text(talk.name)
    assert look(page) == []
    # The left pane of another conversation is the same list.
    page.locator(row(page, other)).click()
    expect(page.locator(f".recent {row(page, talk)}.unread")).to_be_visible()
    expect(page.locator(f".recent {row(page, other)}[aria-current=page]")).to_be_visible()
    page.locator(f".recent {row(page, talk)}").click()
    expect(page.locator("h1")).to_have_text(talk.name)
    page.go_back()
    page.go_back()
    refresh(page)
    expect(page.locator(row(page, talk))).to_be_visible()
    expect(unread).to_have_count(0)


def test_focus_and_place_stay_while_rows_come_in_above(console: Console, open_browser: OpenBrowser) -> None:
    talks = [group_talk(console, 1) for _ in range(9)]
    page = open_browser(height=420)
    for each in talks:
        open_talk(page, each)
    page.goto("/conversations/")
    for _ in range(6):
        page.keyboard.press("j")
    focused = page.locator(".conversation-row:focus")
    name = focused.locator(".name").inner_text()
    page.evaluate("window.scrollBy(0, 120)")
    top = focused.bounding_box()["y"]  # type: ignore[index]
    # The oldest of them comes to the top.
    say_and_archive(console, talks[0], "new")
    refresh(page)
    expect(page.locator(".conversation-row").first).to_contain_text(talks[0].name)
    expect(focused.locator(".name")).to_have_text(name)
    if LOOKS:
        assert abs(focused.bounding_box()["y"] - top) < 2  # type: ignore[index]


def test_a_list_that_nobody_sees_asks_for_nothing_and_one_without_an_answer_says_so(
    console: Console, open_browser: OpenBrowser
) -> None:
    open_talk(page := open_browser(), group_talk(console, 1))
    page.goto("/conversations/")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/rows/" in request.url else None)
    hide = "(hidden) => Object.defineProperty(document, 'hidden', {value: hidden, configurable: true})"
    page.evaluate(hide, True)
    page.locator(".conversation-list").evaluate("(list) => list.dispatchEvent(new Event('refresh'))")
    page.wait_for_timeout(300)
    assert asked == []
    page.evaluate(hide, False)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(300)
    assert len(asked) == 1
    # By this the server tells it from use: a browser that nobody uses is signed out.
    assert "seen=" in asked[0]
    rows = page.locator(".conversation-row").count()
    page.route("**/conversations/rows/**", lambda route: route.abort())
    page.locator(".conversation-list").evaluate("(list) => list.dispatchEvent(new Event('refresh'))")
    expect(page.get_by_text("this list may be out of date")).to_be_visible()
    assert page.locator(".conversation-row").count() == rows
    page.unroute("**/conversations/rows/**")
    refresh(page)
    expect(page.get_by_text("this list may be out of date")).to_be_hidden()


def test_the_list_is_worked_through_by_keys(console: Console, open_browser: OpenBrowser) -> None:
    first, second = group_talk(console, 1), group_talk(console, 1)
    page = open_browser()
    for each in (first, second):
        open_talk(page, each)
    page.goto("/conversations/")
    names = page.locator(".conversation-row .name").all_inner_texts()
    press = page.keyboard.press
    press("k")
    for _ in range(2):
        press("j")
    expect(page.locator(".conversation-row:focus .name")).to_have_text(names[2] if len(names) > 2 else names[-1])
    press("k")
    expect(page.locator(".conversation-row:focus .name")).to_have_text(names[1])
    press("Enter")
    expect(page.locator("h1")).to_have_text(names[1])
    page.go_back()
    press("/")
    expect(page.locator("#id_q")).to_be_focused()
    # Letters are letters while somebody types.
    page.keyboard.type("j/k")
    expect(page.locator("#id_q")).to_have_value("j/k")
    page.locator("h1").click()
    press("?")
    expect(page.locator("#help-dialog")).to_contain_text("Next conversation, previous conversation")


def test_on_a_phone_a_row_is_large_enough_and_nothing_is_cut(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 1)
    page = open_browser(width=390, height=844, has_touch=True, is_mobile=True)
    open_talk(page, talk)
    talk.say("w" * 10_000)
    page.goto(page.url)
    page.goto("/conversations/")
    box = page.locator(row(page, talk)).bounding_box()
    assert box
    assert box["height"] >= 44
    for tab in page.locator(".list-tabs a").all():
        assert tab.bounding_box()["height"] >= 44  # type: ignore[index]
    expect(page.locator(".keys")).to_be_hidden()
    assert look(page) == []
