"""A sweep, as a moderator makes one: from a message to everything its sender wrote."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Console
from tests.browser.pages import has_no_sideways_scroll, look
from tests.browser.steps import Talk, group_talk, open_talk, tick

OpenBrowser = Callable[..., Page]


def two_talks(page: Page, console: Console) -> tuple[str, Talk, Talk]:
    """Somebody who writes in two groups, among others, and the groups, archived."""
    sender = f"spam-{uuid.uuid4().hex[:8]}"
    talks = group_talk(console, 2), group_talk(console, 2)
    for talk, count in zip(talks, (25, 2), strict=True):
        talk.say(*(f"buy {n}" for n in range(count)), sender=sender)
        open_talk(page, talk)
    return sender, *talks


def theirs(talk: Talk) -> list[int]:
    """What the sender wrote there: all after the first two."""
    return talk.timestamps[2:]


def test_a_message_leads_to_a_sweep_of_everything_its_sender_wrote(console: Console, open_browser: OpenBrowser) -> None:
    page = open_browser()
    sender, first, second = two_talks(page, console)
    tick(page, second.timestamps[-1])
    page.get_by_role("link", name=f"Recall what {sender.title()} wrote in every conversation").click()
    expect(page.get_by_label("Sender's id")).to_have_value(sender)
    page.get_by_label("Reason").select_option("spam")
    page.get_by_role("button", name="Review").click()
    expect(page.locator(".review-sum")).to_contain_text("27 messages in 2 conversations · 3 requests")
    expect(page.locator(".sweep-parts")).to_contain_text(first.name)
    assert look(page) == []
    # A wrong number sends nothing; the right one, by the keyboard alone, does.
    page.get_by_label("Type 27, the number of messages, to confirm").fill("26")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Type 27")
    page.get_by_label("Type 27, the number of messages, to confirm").fill("27")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/sweeps/[0-9a-f-]{36}/"))
    expect(page.locator("#recall-status")).to_contain_text("Not sent yet.")
    assert look(page) == []
    expect(page.locator(".status-row .pill.accepted")).to_have_text("27 accepted", timeout=20_000)
    expect(page.locator("#recalls .pill.accepted")).to_have_count(2)
    expect(page.locator(".verified .pill.gone")).to_have_text("27 verified as removed", timeout=30_000)
    assert list(first.recalled) == theirs(first)
    assert list(second.recalled) == theirs(second)
    assert [len(call) for call in first.calls] == [20, 5]
    page.get_by_role("link", name=first.name).click()
    page.get_by_role("link", name="a sweep").click()
    expect(page.locator("h1")).to_contain_text(sender.title())


def test_a_sweep_is_called_off_before_anything_left(console: Console, open_browser: OpenBrowser) -> None:
    page = open_browser()
    sender, first, second = two_talks(page, console)
    page.goto(f"/sweeps/new/?sender={sender}")
    page.get_by_label("Reason").select_option("spam")
    page.get_by_role("button", name="Review").click()
    page.get_by_label("Type 27, the number of messages, to confirm").fill("27")
    page.locator("button[name=confirm]").click()
    page.locator("#call-off").click()
    expect(page.locator("#recall-status")).to_contain_text("Sending has ended in 2 of 2 conversations.")
    expect(page.locator(".status-row .pill.cancelled")).to_have_text("27 cancelled")
    page.wait_for_timeout(2_500)
    assert first.calls == second.calls == []


def test_a_sweep_works_on_a_phone_in_chinese(console: Console, open_browser: OpenBrowser) -> None:
    page = open_browser("zhao", width=390, height=844, has_touch=True, is_mobile=True)
    sender, first, _second = two_talks(page, console)
    page.goto(f"/sweeps/new/?sender={sender}")
    expect(page.locator("h1")).to_have_text("新建批量撤回")
    assert has_no_sideways_scroll(page)
    assert look(page) == []
    page.locator("#id_reason").select_option("spam")
    page.locator("main form button.primary").tap()
    expect(page.locator(".review-sum")).to_contain_text("2 个会话")
    assert has_no_sideways_scroll(page)
    page.locator("#id_typed_count").fill("27")
    page.locator("button[name=confirm]").tap()
    expect(page.locator(".status-row .pill.accepted")).to_have_text("27 已受理", timeout=20_000)
    assert has_no_sideways_scroll(page)
    assert list(first.recalled) == theirs(first)


def test_a_sweep_without_archived_messages_says_so(console: Console, open_browser: OpenBrowser) -> None:
    page = open_browser()
    page.goto("/sweeps/new/?sender=nobody-at-all")
    page.get_by_label("Reason").select_option("spam")
    page.get_by_role("button", name="Review").click()
    expect(page.get_by_role("alert")).to_contain_text("The archive has no message of this sender in this time")
    expect(page.get_by_label("Sender's id")).to_have_value("nobody-at-all")
