"""The main job by keyboard alone, without a mouse."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD, Console
from tests.browser.steps import codes, group_talk, is_ready, message, open_talk, private_talk, wait_until

OpenBrowser = Callable[..., Page]


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def tab_to(page: Page, selector: str, *, back: bool = False) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(80):
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"Tab never comes to {selector}")


def test_the_main_job_needs_no_mouse(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "hello", "spam one", "spam two", "spam three", "bye")
    page = open_browser(None)
    page.goto("/accounts/login/")
    tab_to(page, "input[name=username]")
    page.keyboard.type("mo")
    press(page, "Tab")
    page.keyboard.type(PASSWORD)
    press(page, "Enter")
    page.wait_for_url(f"{console.url}/")

    # Ctrl-K: what the archive does not know yet is offered as a conversation to open.
    press(page, "Control+k")
    expect(page.locator("#jump-dialog")).to_be_visible()
    page.keyboard.type("/".join((talk.conversation["user_a"], talk.conversation["user_b"])))
    press(page, "Enter")
    page.wait_for_url("**/open/**")
    tab_to(page, "a[href*='kind=private']")
    press(page, "Enter")
    page.wait_for_url("**/conversations/open/**")
    expect(page.locator("input[name=user_b]")).to_have_value(talk.conversation["user_b"])
    tab_to(page, "main form button")
    press(page, "Enter")
    is_ready(page, talk)

    press(page, "k", "k")
    expect(message(page, talk.timestamps[3])).to_be_focused()
    press(page, "x", "Shift+k", "Shift+k")
    expect(page.locator("#sum")).to_have_text("3 messages · 1 request")
    press(page, "1", "r")
    expect(page.locator("#review-sheet .review-sum")).to_contain_text("3 messages · 1 request")
    expect(page.locator("#review-sheet h1")).to_be_focused()
    press(page, "Escape")
    expect(page.locator("#review-sheet")).to_be_hidden()
    expect(page.locator("#sum")).to_have_text("3 messages · 1 request")
    press(page, "Control+Enter")
    expect(page.locator("#review-sheet h1")).to_be_focused()
    press(page, "Control+Enter")
    page.wait_for_url(re.compile(r"\?recall="))
    expect(page.locator("#toast-cancel")).to_be_focused()
    expect(page.locator("#toast")).to_contain_text("Accepted.", timeout=20_000)
    page.locator("#toast").get_by_role("link", name="Details").click()
    wait_until(page, "accepted")
    assert codes(page) == ["200"]
    assert list(talk.recalled) == talk.timestamps[1:4]


def test_a_senders_messages_are_filtered_and_selected_by_letter(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 70, senders=7)
    page = open_browser()
    page.goto(f"/conversations/open/?kind=group&group_id={talk.name}")
    tab_to(page, "main form button")
    press(page, "Enter")
    is_ready(page, talk)
    press(page, "/")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type("message 69")
    expect(page.locator("#filter-count")).to_have_text("1 of 60 loaded messages")
    press(page, "Enter", "a")
    expect(page.locator("#sum")).to_have_text("10 messages · 1 request")
    press(page, "/", "Escape")
    expect(page.locator("#filter-count")).to_have_text("")
    # Older ones come by letter, and are ticked: they are of that sender.
    press(page, "Escape", "o")
    expect(page.locator("#messages .message")).to_have_count(70)
    expect(message(page, talk.timestamps[5]).locator("input")).to_be_checked()
    expect(page.locator("#messages .message input:checked")).to_have_count(10)
    press(page, "u")
    expect(page.locator("#sum")).to_have_text("Nothing is selected.")
    expect(page.locator("#messages .message input:checked")).to_have_count(0)


def test_the_filter_finds_what_the_search_finds(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "加我微\u200b信", "add 微.信", "ＷｅＣｈａｔ", "bye")
    page = open_browser()
    open_talk(page, talk)
    press(page, "/")
    page.keyboard.type("微信")
    expect(page.locator("#filter-count")).to_have_text("1 of 4 loaded messages")
    press(page, "Tab", "Space")
    expect(page.locator("#filter-count")).to_have_text("2 of 4 loaded messages")
    press(page, "/", "Escape")
    press(page, "/")
    page.keyboard.type("wechat")
    expect(page.locator("#messages .message:not([hidden])")).to_have_count(1)


def test_letters_do_nothing_while_somebody_types(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "hello", "bye")
    page = open_browser()
    page.goto("/conversations/open/?kind=private&user_a={user_a}&user_b={user_b}".format_map(talk.conversation))
    tab_to(page, "main form button")
    press(page, "Enter")
    is_ready(page, talk)
    address = page.url
    tab_to(page, "#recall_note")
    every = "jkxaousnrgh/? "
    page.keyboard.type(every)
    expect(page.locator("#recall_note")).to_have_value(every)
    expect(page.locator("#sum")).to_have_text("Nothing is selected.")
    expect(page.locator("dialog[open]")).to_have_count(0)
    assert page.url == address
    # Outside of a field the same letters act.
    press(page, "Escape", "x")
    expect(page.locator("#sum")).to_have_text("1 message · 1 request")


def test_the_help_names_every_letter_that_is_printed_on_the_page(console: Console, open_browser: OpenBrowser) -> None:
    talk = private_talk(console, "hello")
    page = open_browser()
    page.goto("/conversations/open/?kind=private&user_a={user_a}&user_b={user_b}".format_map(talk.conversation))
    tab_to(page, "main form button")
    press(page, "Enter")
    is_ready(page, talk)
    press(page, "?")
    dialog = page.locator("#help-dialog")
    expect(dialog).to_be_visible()
    explained = set(dialog.locator("dt kbd").all_inner_texts())
    printed = set(page.locator("main kbd").all_text_contents())
    assert printed
    assert printed <= explained
    press(page, "Escape")
    expect(dialog).to_be_hidden()
    press(page, "g", "r")
    page.wait_for_url("**/recalls/")


def test_ctrl_k_opens_a_conversation_by_one_of_its_ids(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 2)
    page = open_browser()
    page.goto(f"/conversations/open/?kind=group&group_id={talk.name}")
    tab_to(page, "main form button")
    press(page, "Enter")
    is_ready(page, talk)
    conversation = page.url
    for wanted in (talk.name, str(talk.timestamps[0])):
        page.goto("/recalls/")
        press(page, "Control+k")
        page.keyboard.type(wanted)
        press(page, "Enter")
        page.wait_for_url(re.compile(re.escape(conversation)))
        expect(message(page, talk.timestamps[0])).to_be_visible()
    expect(message(page, talk.timestamps[0])).to_have_class(re.compile(r"\bat\b"))
