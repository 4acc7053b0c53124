"""Every page of the desk in every variant: no axe violation (WCAG 2.2 A, AA), no CSP violation, no overflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import DRESSES, LOOKS, look, routes, visit
from tests.browser.steps import review

OpenBrowser = Callable[..., Page]

STATES = ("accepted", "refused", "unknown", "undecided", "stopped", "waiting", "cancelled")
# Every route and the addresses at which people see it; `{…}` as the world has it.
PAGES: dict[str, tuple[str, ...]] = {
    "home": ("/",),
    "jump": ("/open/", "/open/?q=u-1001", "/open/?q=1001", "/open/?q=nobody"),
    "conversations": (
        "/conversations/",
        "/conversations/?q=u-1001&kind=private",
        "/conversations/?q=nobody",
        "/conversations/?q=e&type=text",
        "/conversations/?kind=group",
        "/conversations/?needs=action",
    ),
    "ticked-messages": ("/conversations/ticked/", "/conversations/ticked/?message=1&message=200&message=400"),
    "sender": ("/senders/default/?id=promo-7731", "/senders/default/?id=nobody"),
    "erase-text": ("/senders/default/erase/?id=promo-7731", "/senders/default/erase/?id=nobody"),
    "open-conversation": ("/conversations/open/",),
    "conversation": ("/conversations/{conversation}/",),
    "feed": ("/feed/",),
    "recalls": ("/recalls/", "/recalls/?state=stopped&outcome=unknown"),
    "recall-new": ("/recalls/new/?kind=group&group_id=g&timestamps=1,2",),
    "recall": (*(f"/recalls/{{{state}}}/" for state in STATES), "/recalls/{stopped}/?only=pending"),
    "sweep-new": ("/sweeps/new/?sender=promo-7731&since=1700000000000",),
    "sweep": ("/sweeps/{sweep}/",),
    "preferences": ("/accounts/preferences/",),
    "password_change": ("/accounts/password/",),
    "login": ("/accounts/login/",),
}
# Routes without a page of their own.
NO_PAGE = {
    *(
        "conversation-news",
        "conversation-rows",
        "conversation-hold",
        "conversation-select",
        "conversation-filter",
        "application-test",
        "save-search",
        "unsave-search",
        "recall-toast",
        "recall-cancel",
        "recall-retry",
        "recall-settle",
    ),
    *("sweep-cancel", "sweep-retry"),
    *("logout", "set-language", "healthz", "readyz", "goeasy-webhook"),
}


def test_every_route_is_looked_at() -> None:
    assert {name for name, _pattern in routes() if not name.startswith("admin:")} == set(PAGES) | NO_PAGE


@pytest.mark.parametrize(
    ("username", "dress", "first"),
    [("mo", "light", None), ("lea", "dark", 0), ("mo", "phone", 1), ("audrey", "dark phone", 2), ("zhao", "light", 3)],
)
def test_a_page_of_the_desk_is_accessible(
    open_browser: OpenBrowser, world: dict[str, Any], username: str, dress: str, first: int | None
) -> None:
    addresses = [address.format_map(world) for addresses in PAGES.values() for address in addresses]
    # Every page is checked in light mode; the four other variants share the pages between them.
    if LOOKS and first is not None:
        addresses = addresses[first::4]
    conversation = f"/conversations/{world['conversation']}/"
    visit(open_browser(username, **DRESSES[dress]), [*addresses, conversation, "/feed/", "/nowhere/"])


@pytest.mark.parametrize("dress", ["light", "dark phone"])
def test_dialogs_and_form_results_are_accessible(open_browser: OpenBrowser, world: dict[str, Any], dress: str) -> None:
    # A lead's form of a recall has fields for the recaller.
    page = open_browser("lea", **DRESSES[dress])
    violations = []
    page.goto("/")
    page.locator(".person-menu summary").click()
    violations += look(page)
    page.keyboard.press("Escape")
    for key in ("Control+k", "?"):
        page.keyboard.press(key)
        expect(page.locator("dialog[open]")).to_be_visible()
        violations += look(page)
        page.keyboard.press("Escape")
    page.goto("/conversations/{conversation}/".format_map(world))
    # More than 20, so that the number has to be typed; a wrong one sends nothing.
    page.locator("#messages .message[data-sender='promo-7731']").last.focus()
    page.keyboard.press("x")
    page.keyboard.press("a")
    page.locator("#messages details.long summary").first.click()
    expect(page.locator("#selection-status")).to_contain_text("Selected: 46.", use_inner_text=False)
    violations += look(page)
    page.goto(f"{page.url}#selection")
    for summary in page.locator("#selection details > summary").all():
        summary.click()
    page.locator("#paste").fill("12345")
    page.locator("#select-pasted").click()
    expect(page.locator("#selection-status")).to_contain_text("Not understood")
    violations += look(page)
    page.locator("#paste").fill("")
    review(page)
    violations += look(page)
    page.locator("button[name=confirm]").click()
    expect(page.locator("#id_typed_count_error")).to_be_visible()
    violations += look(page)
    page.goto("/recalls/new/")
    page.locator("textarea[name=timestamps]").fill("12345 12.5")
    page.locator("textarea[name=recaller_data]").fill("[]")
    page.locator("main form button.primary").click()
    expect(page.locator(".banner.error")).to_be_visible()
    violations += look(page)
    assert violations == []


def test_the_pages_of_anonymous_visitors_are_accessible(open_browser: OpenBrowser) -> None:
    addresses = ["/accounts/login/", "/recalls/", "/admin/login/"]
    visit(open_browser(None), addresses)
    page = open_browser(None, locale="zh-CN", **DRESSES["dark phone"])
    visit(page, addresses)
    # A form from a page that has lost its cookie, and a password that is wrong.
    page.goto("/accounts/login/")
    page.fill("input[name=username]", "nobody")
    page.fill("input[name=password]", "wrong")
    page.press("input[name=password]", "Enter")
    expect(page.locator(".banner.error")).to_be_visible()
    violations = look(page)
    page.context.clear_cookies()
    page.fill("input[name=password]", "wrong")
    page.press("input[name=password]", "Enter")
    expect(page.locator("input[name=password]")).to_have_count(0)
    assert violations + look(page) == []
