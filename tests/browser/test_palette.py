"""The palette: typing, moving, opening; answers that come late or not at all; a browser without storage."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Console
from tests.browser.pages import DRESSES, look
from tests.browser.steps import group_talk, message, open_talk

OpenBrowser = Callable[..., Page]

ANSWER = """<div data-summary="{0}"><div role="listbox" id="palette-list" aria-label="Results">
<a class="result" role="option" id="option-{0}" aria-selected="false" href="/feed/?{0}">{0}</a></div></div>"""


def open_palette(page: Page) -> Locator:
    """Open it by its keys; return its field."""
    page.keyboard.press("Control+k")
    field = page.locator("#palette-q")
    expect(field).to_be_focused()
    expect(field).to_have_role("combobox")
    return field


def option(page: Page, text: str) -> Locator:
    return page.get_by_role("option").filter(has_text=text)


def active(page: Page) -> Locator:
    """The option that Enter opens."""
    return page.locator("#jump-dialog [role=option][aria-selected=true]")


def test_somebody_types_moves_and_opens(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 3)
    page = open_browser()
    open_talk(page, talk)
    conversation = page.url
    page.goto("/recalls/")
    field = open_palette(page)
    page.keyboard.type(talk.name[:-1])
    expect(option(page, talk.name)).to_have_attribute("aria-selected", "true")
    group = page.get_by_role("group", name="Conversations")
    expect(group.get_by_role("option")).to_have_count(1)
    expect(field).to_have_attribute("aria-expanded", "true")
    # The field says which option is the active one, and keeps the focus.
    page.keyboard.press("ArrowDown")
    expect(option(page, talk.name)).to_have_attribute("aria-selected", "false")
    expect(active(page)).to_have_count(1)
    assert field.get_attribute("aria-activedescendant") == active(page).get_attribute("id")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(active(page)).to_have_text(re.compile("Search everything|All results"))
    page.keyboard.press("ArrowDown")
    expect(field).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(re.escape(conversation)))
    expect(page.locator("#jump-dialog")).to_be_hidden()


def test_a_message_is_opened_where_it_stands_with_the_pointer(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 2)
    page = open_browser()
    open_talk(page, talk)
    page.goto("/")
    open_palette(page)
    page.keyboard.type(str(talk.timestamps[0]))
    option(page, "message 1").first.hover()
    expect(option(page, "message 1").first).to_have_attribute("aria-selected", "true")
    option(page, "message 1").first.click()
    expect(message(page, talk.timestamps[0])).to_have_class(re.compile(r"\bat\b"))


def test_escape_closes_and_the_focus_goes_back(open_browser: OpenBrowser) -> None:
    page = open_browser()
    page.goto("/recalls/")
    opener = page.locator(".open-box")
    opener.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#palette-q")).to_be_focused()
    page.keyboard.type("anything")
    page.keyboard.press("Escape")
    expect(page.locator("#jump-dialog")).to_be_hidden()
    expect(opener).to_be_focused()


def test_an_older_answer_never_replaces_a_newer_one(open_browser: OpenBrowser) -> None:
    page = open_browser()
    page.goto("/recalls/")
    held: list[Route] = []

    def hold(route: Route) -> None:
        if "q=slow" in route.request.url and "slower" not in route.request.url:
            held.append(route)
        else:
            route.fulfill(body=ANSWER.format("newer"), content_type="text/html")

    page.route("**/open/?q=*", hold)
    field = open_palette(page)
    field.fill("slow")
    # A wait shows after a while, and not before.
    expect(page.locator("#palette-spinner")).to_be_visible()
    assert len(held) == 1
    # What is shown still is of an earlier text: Enter must not open it.
    expect(active(page)).to_have_count(0)
    field.fill("slower")
    expect(active(page)).to_have_text("newer")
    expect(page.locator("#palette-spinner")).to_be_hidden()
    try:
        held[0].fulfill(body=ANSWER.format("older"), content_type="text/html")
    except Exception as error:  # noqa: BLE001 - the browser has dropped the request, as it should
        assert "abort" in str(error).lower() or "not found" in str(error).lower() or "handled" in str(error).lower()
    page.wait_for_timeout(300)
    expect(page.get_by_role("option")).to_have_text(["newer"])


def test_a_failed_request_is_said_and_leads_to_the_plain_page(open_browser: OpenBrowser) -> None:
    page = open_browser()
    page.goto("/recalls/")
    page.route("**/open/?q=a%26b", lambda route: route.abort())
    field = open_palette(page)
    field.fill("a&b")
    failure = page.get_by_role("alert").filter(has_text="The results could not be loaded.")
    expect(failure).to_be_visible()
    expect(page.get_by_role("option")).to_have_count(0)
    # The next text is answered again.
    field.fill("feed")
    expect(option(page, "Feed").first).to_be_visible()
    expect(failure).to_be_hidden()
    field.fill("a&b")
    expect(failure).to_be_visible()
    page.unroute("**/open/?q=a%26b")
    failure.get_by_role("link").click()
    page.wait_for_url("**/open/?q=a%26b")
    expect(page.locator("main input[name=q]")).to_have_value("a&b")


def test_enter_before_an_answer_opens_what_was_typed(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 1)
    page = open_browser()
    open_talk(page, talk)
    conversation = page.url
    page.goto("/recalls/")
    page.route("**/open/?q=*", lambda route: route.continue_() if route.request.is_navigation_request() else None)
    field = open_palette(page)
    field.fill(talk.name)
    page.keyboard.press("Enter")
    page.wait_for_url(conversation)


def test_an_empty_field_offers_what_was_opened_lately(console: Console, open_browser: OpenBrowser) -> None:
    talks = [group_talk(console, 1) for _ in range(2)]
    page = open_browser("lin")
    for talk in talks:
        open_talk(page, talk)
    conversation = page.url
    open_palette(page)
    recent = page.get_by_role("group", name="Recent").get_by_role("option")
    # The conversation that is open is not offered.
    expect(recent).to_have_text([talks[0].name])
    expect(option(page, "New recall by timestamps")).to_be_visible()
    kept = page.evaluate("Object.entries(localStorage)")
    assert len(kept) == 1
    assert "message" not in kept[0][1]
    page.goto("/recalls/")
    open_palette(page)
    expect(recent).to_have_text([talks[1].name, talks[0].name])
    expect(active(page)).to_have_text(talks[1].name)
    page.keyboard.press("Enter")
    page.wait_for_url(conversation)
    # It is not for whoever signs in next.
    page.goto("/recalls/")
    open_palette(page)
    page.keyboard.type("sign out")
    expect(active(page)).to_have_text("Sign out")
    page.keyboard.press("Enter")
    page.wait_for_url("**/accounts/login/**")
    console.sessions.pop("lin")
    assert page.evaluate("localStorage.length") == 0


def test_without_storage_there_are_actions_alone(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 1)
    page = open_browser()
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    open_talk(page, talk)
    page.goto("/")
    open_palette(page)
    expect(option(page, "Recalls").first).to_be_visible()
    expect(page.get_by_role("group", name="Recent")).to_have_count(0)
    page.keyboard.type("preferences")
    expect(active(page)).to_have_text("Preferences")
    page.keyboard.press("Enter")
    page.wait_for_url("**/accounts/preferences/")


def test_a_name_of_255_characters_takes_one_line(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 1)
    for name in ("w" * 255, "\u05d0" * 255):
        talk.say("hello", sender=name)
    page = open_browser()
    open_talk(page, talk)
    page.goto("/")
    for text in ("w" * 20, "\u05d0" * 20):
        open_palette(page).fill(text)
        person = page.get_by_role("group", name="People").get_by_role("option").first
        expect(person).to_be_visible()
        box, dialog = person.bounding_box(), page.locator("#jump-dialog").bounding_box()
        assert box
        assert dialog
        assert box["height"] <= 44
        assert box["width"] <= dialog["width"]
        page.keyboard.press("Escape")


def test_results_are_accessible_and_have_no_keys_on_touch(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 8)
    open_talk(open_browser(), talk)
    violations = []
    for dress in ("light", "dark phone"):
        page = open_browser(**DRESSES[dress])
        page.goto("/")
        for text in ("", "message", "nobody", "1700000000", "x" * 300):
            page.locator(".open-box").click()
            page.locator("#palette-q").fill(text)
            expect(page.locator("#palette-answer .result, #palette-answer .results-note").first).to_be_visible()
            page.wait_for_timeout(400)
            violations += look(page)
            hints = page.locator("#jump-dialog kbd").first
            expect(hints).to_be_hidden() if "phone" in dress else expect(hints).to_be_visible()
            page.locator("#palette-close").click()
    assert violations == []
