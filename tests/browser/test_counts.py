"""How few clicks and keys the frequent jobs take. Each step counts one, also where it chooses several things."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Console
from tests.browser.steps import group_talk, is_ready, message

OpenBrowser = Callable[..., Page]


class Counted:
    """A page on which clicks and key presses are counted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = self.keys = 0

    def click(self, what: Locator, **options: object) -> None:
        what.click(**options)  # type: ignore[arg-type]
        self.clicks += 1

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.keys += 1


def test_three_messages_of_a_known_group_are_recalled_in_five_clicks(
    console: Console, open_browser: OpenBrowser
) -> None:
    talk = group_talk(console, 6)
    # Known: it stands in the list of recent conversations, also beside those that other tests use.
    talk.say("just now", at=time.time_ns() // 1_000_000)
    page = open_browser()
    page.goto("/conversations/open/?kind=group&group_id={group_id}".format_map(talk.conversation))
    page.locator("main form button.primary").click()
    is_ready(page, talk)
    page.goto("/")
    counted = Counted(page)
    counted.click(page.locator(".conversation-row").filter(has_text=talk.conversation["group_id"]).first)
    is_ready(page, talk)
    counted.click(message(page, talk.timestamps[1]).locator(".tick"))
    counted.click(message(page, talk.timestamps[3]).locator(".tick"), modifiers=["Shift"])
    counted.click(page.get_by_role("button", name="Spam or advertising"))
    counted.click(page.locator("#review-sheet [name=confirm]"))
    expect(page.locator("#toast")).to_contain_text("Accepted.", timeout=20_000)
    assert list(talk.recalled) == talk.timestamps[1:4]
    assert counted.clicks <= 5


def test_three_messages_of_a_known_group_are_recalled_with_sixteen_keys(
    console: Console, open_browser: OpenBrowser
) -> None:
    talk = group_talk(console, 6)
    page = open_browser()
    page.goto("/conversations/open/?kind=group&group_id={group_id}".format_map(talk.conversation))
    page.locator("main form button.primary").click()
    is_ready(page, talk)
    page.goto("/")
    counted = Counted(page)
    counted.press("Control+k")
    # The palette offers it first, because it was opened last.
    expect(page.locator("#jump-dialog .result[aria-selected=true]")).to_contain_text(talk.conversation["group_id"])
    counted.press("Enter")
    expect(message(page, talk.timestamps[-1])).to_be_visible()
    expect(page.locator("#messages .message[tabindex='0']")).to_have_count(1)
    counted.press("x", "Shift+k", "Shift+k")
    expect(page.locator("#sum")).to_have_text("3 messages · 1 request")
    counted.press("1", "Control+Enter")
    expect(page.locator("#review-sheet h1")).to_be_focused()
    counted.press("Control+Enter")
    expect(page.locator("#toast")).to_contain_text("Accepted.", timeout=20_000)
    assert list(talk.recalled) == talk.timestamps[3:]
    assert counted.keys <= 16


def test_everything_of_one_sender_everywhere_is_recalled_in_four_clicks(
    console: Console, open_browser: OpenBrowser
) -> None:
    first, second = group_talk(console, 1), group_talk(console, 1)
    sender = f"member-{first.conversation['group_id']}"
    for talk in (first, second):
        talk.say("buy", "buy now", sender=sender)
    page = open_browser()
    for talk in (first, second):
        page.goto("/conversations/open/?kind=group&group_id={group_id}".format_map(talk.conversation))
        page.locator("main form button.primary").click()
        expect(message(page, talk.timestamps[-1])).to_be_visible()
    is_ready(page, second)
    counted = Counted(page)
    counted.click(message(page, second.timestamps[1]).locator(".who a"))
    counted.click(page.get_by_role("link", name="Recall everywhere…"))
    counted.click(page.get_by_role("button", name="Spam or advertising"))
    expect(page.locator(".review-sum")).to_contain_text("4 messages in 2 conversations")
    counted.click(page.locator("button[name=confirm]"))
    page.wait_for_url("**/sweeps/*/")
    assert counted.clicks <= 4
