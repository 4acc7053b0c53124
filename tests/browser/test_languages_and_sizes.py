"""Chinese, phone, tablet and dark mode."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console
from tests.browser.pages import has_no_sideways_scroll
from tests.browser.steps import (
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

CHINESE = re.compile("zh-hans", re.IGNORECASE)
# What is said by headings, labels and buttons, without what people or machines wrote and printed keys.
SAID = """() => [...document.querySelectorAll(
    "h1, h2, h3, legend, label, th, dt, button, .button, nav a, option, .help, .muted, .banner"
  )]
    .filter((element) => element.checkVisibility() && !element.closest("[lang]:not(html), .mono"))
    .map((element) => {
      const copy = element.cloneNode(true);
      copy.querySelectorAll("bdi, kbd, .kbd, code, time, .mono, .strong").forEach((part) => part.remove());
      return copy.textContent.trim();
    })
    .filter((text) => !/^[0-9a-f-]{36}$/.test(text) && /[A-Za-z]{2}/.test(text) && !/\\p{Script=Han}/u.test(text))"""

# The placeholders that their fields cut off.
CUT = """() => [...document.querySelectorAll("input[placeholder]")].filter((field) => field.checkVisibility())
    .filter((field) => {
      const style = getComputedStyle(field);
      const pen = document.createElement("canvas").getContext("2d");
      pen.font = style.font;
      // A search field keeps room for its cross.
      const room = field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - 16;
      return pen.measureText(field.placeholder).width > room;
    }).map((field) => field.placeholder)"""


@pytest.fixture
def speaks_english_again(console: Console) -> Iterator[None]:
    """The language is the person's own, and stays."""
    yield
    console.run("""
from moderation.accounts.models import User
User.objects.filter(username="lin").update(language="", theme="system")
""")


def test_the_main_job_is_all_in_chinese_after_a_click(
    console: Console, open_browser: OpenBrowser, speaks_english_again: None
) -> None:
    talk = private_talk(console, "你好", "加微信领福利", "日入过万不是梦")
    page = open_browser("lin")
    page.goto("/")
    html = page.locator("html")
    expect(html).to_have_attribute("lang", "en")
    assert "Recent conversations" in page.evaluate(SAID)
    page.get_by_role("button", name="简体中文").click()
    expect(html).to_have_attribute("lang", CHINESE)
    expect(page.locator("nav").first).to_contain_text(re.compile("会话.*撤回", re.DOTALL))
    assert page.evaluate(SAID) == []
    open_talk(page, talk)
    expect(page.locator("#review")).to_contain_text("预览")
    tick(page, *talk.timestamps[1:])
    expect(page.locator("#sum")).to_have_text(re.compile("^2.*·.*1"))
    assert page.evaluate(SAID) == []
    review(page)
    expect(page.locator("button[name=confirm]")).to_contain_text("撤回")
    assert page.evaluate(SAID) == []
    confirm(page)
    wait_until(page, "accepted")
    expect(page.locator("h1")).to_contain_text("撤回")
    assert page.evaluate(SAID) == []
    assert list(talk.recalled) == talk.timestamps[1:]
    # Another browser of the same person speaks Chinese too, and so does the audit log.
    another = open_browser("lin")
    another.goto("/admin/")
    expect(another.locator("html")).to_have_attribute("lang", CHINESE)
    expect(another.locator("h1").first).to_have_text(re.compile("[\u4e00-\u9fff]"))


def test_a_visitor_chooses_the_language_or_the_browser_does(console: Console, open_browser: OpenBrowser) -> None:
    page = open_browser(None)
    page.goto("/accounts/login/")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    page.get_by_role("button", name="简体中文").click()
    expect(page.get_by_role("button", name="登录")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="登录")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()

    chinese = open_browser(None, locale="zh-CN")
    chinese.goto("/accounts/login/")
    expect(chinese.locator("html")).to_have_attribute("lang", CHINESE)


def test_the_main_job_fits_a_phone(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 30, senders=3)
    talk.say(
        "W" * 300, "https://example.com/" + "a" * 200, sender="member-with-a-name-that-is-far-too-long-for-a-phone"
    )
    page = open_browser("mo", width=390, height=844, has_touch=True, is_mobile=True)
    for address in (
        "/",
        "/conversations/",
        "/recalls/",
        "/recalls/new/",
        "/conversations/open/",
        "/accounts/preferences/",
    ):
        page.goto(address)
        assert has_no_sideways_scroll(page), address
    open_talk(page, talk)
    address_of_talk = page.url
    assert has_no_sideways_scroll(page)
    scroller = page.locator(".scroller").bounding_box()
    assert scroller["y"] <= 96, "the headers above the messages"  # type: ignore[index]
    assert all(link.bounding_box()["height"] >= 44 for link in page.locator("nav.tabs a").all())  # type: ignore[index]
    page.locator("#more-tools").tap()
    expect(page.locator("#filter")).to_be_focused()
    assert has_no_sideways_scroll(page)
    page.locator("#more-tools").tap()
    expect(page.locator("#filter")).to_be_hidden()
    for timestamp in talk.timestamps[-4:-2]:
        message(page, timestamp).locator(".tick").tap()
    bar = page.locator("#bar")
    expect(bar).to_contain_text("2 messages · 1 request")
    bar.get_by_role("link", name="Review").tap()
    expect(page.locator("#review")).to_be_visible()
    expect(page.locator("#messages")).to_be_hidden()
    assert has_no_sideways_scroll(page)
    page.locator("nav.tabs a[href='#list']").tap()
    expect(page.locator("#list")).to_be_visible()
    assert has_no_sideways_scroll(page)
    page.locator("nav.tabs a[href='#selection']").tap()
    page.locator("#recall_reason").select_option("spam")
    page.locator("#review").tap()
    expect(page.locator(".review h1")).to_be_visible()
    assert has_no_sideways_scroll(page)
    page.locator("button[name=confirm]").tap()
    expect(page.locator("#toast")).to_be_visible()
    assert has_no_sideways_scroll(page)
    page.locator("#toast").get_by_role("link", name="Details").tap()
    wait_until(page, "accepted")
    assert codes(page) == ["200"]
    assert has_no_sideways_scroll(page)
    assert list(talk.recalled) == talk.timestamps[-4:-2]
    page.goto(address_of_talk)
    gone = message(page, talk.timestamps[-4])
    expect(gone.locator(".notes")).to_contain_text("Recalled")
    assert gone.bounding_box()["height"] < 40, "what was recalled takes one line"  # type: ignore[index]


def test_the_header_of_a_phone_is_one_line_with_a_menu(console: Console, open_browser: OpenBrowser) -> None:
    page = open_browser("lin", width=390, height=844, has_touch=True, is_mobile=True)
    page.goto("/")
    bar = page.locator(".topbar")
    assert bar.bounding_box()["height"] < 60  # type: ignore[index]
    menu = bar.locator(".pages-menu")
    expect(menu.locator("summary")).to_have_text("Home")
    menu.locator("summary").tap()
    menu.get_by_role("link", name="Recalls").tap()
    expect(page.get_by_role("heading", name="Recalls", level=1)).to_be_visible()
    expect(menu.locator("summary")).to_have_text("Recalls")
    bar.locator(".person-menu summary").tap()
    expect(bar.get_by_role("button", name="简体中文")).to_be_in_viewport()
    assert has_no_sideways_scroll(page)


def test_a_tablet_shows_messages_and_form_side_by_side(console: Console, open_browser: OpenBrowser) -> None:
    talk = group_talk(console, 5)
    page = open_browser("mo", width=768, height=1024)
    open_talk(page, talk)
    tick(page, talk.timestamps[0])
    expect(page.locator("#review")).to_be_in_viewport()
    expect(message(page, talk.timestamps[-1])).to_be_in_viewport()
    for address in (page.url, "/", "/conversations/", "/recalls/", "/recalls/new/"):
        page.goto(address)
        assert has_no_sideways_scroll(page), address


@pytest.mark.parametrize("username", ["lea", "zhao"])
def test_no_field_cuts_its_placeholder(console: Console, open_browser: OpenBrowser, username: str) -> None:
    talk = private_talk(console, "one")
    page = open_browser(username)
    open_talk(page, talk)
    for width in (1440, 1200, 768, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for pane in ("", "#list"):
            page.goto(page.url.split("#")[0] + pane)
            if (more := page.locator("#more-tools:visible")).count():
                more.click()
            expect(page.locator("input[placeholder]:visible").first).to_be_visible()
            assert page.evaluate(CUT) == [], width


def is_dark(page: Page) -> bool:
    """Whether the text is lighter than its background."""
    colours: list[str] = page.evaluate("""() => {
        const style = getComputedStyle(document.body);
        return [style.color, style.backgroundColor];
    }""")
    front, back = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    return front > back


def test_it_is_dark_when_the_system_is_or_the_person_says_so(
    console: Console, open_browser: OpenBrowser, speaks_english_again: None
) -> None:
    light, dark = open_browser("lin", color_scheme="light"), open_browser("lin", color_scheme="dark")
    for page in (light, dark):
        page.goto("/accounts/preferences/")
    assert (is_dark(light), is_dark(dark)) == (False, True)
    light.locator("[name=theme][value=dark]").check()
    light.get_by_role("button", name="Save").click()
    expect(light.locator("html")).to_have_attribute("data-theme", "dark")
    assert is_dark(light)
    dark.goto("/accounts/preferences/")
    dark.locator("[name=theme][value=light]").check()
    dark.get_by_role("button", name="Save").click()
    expect(dark.locator("html")).to_have_attribute("data-theme", "light")
    assert not is_dark(dark)
