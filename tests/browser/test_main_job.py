"""Taking messages back with the mouse: from signing in to the audit log."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console
from tests.browser.steps import (
    SEEN_BY_CLIENTS,
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


@pytest.fixture(params=["private", "group"])
def talk(request: pytest.FixtureRequest, console: Console) -> Talk:
    """A few messages, in a private conversation and in a group."""
    if request.param == "group":
        return group_talk(console, 4, senders=2)
    return private_talk(console, "hello", "buy followers now", "cheap followers", "how are you?")


def test_messages_are_taken_back_and_the_response_code_is_in_the_audit_log(
    console: Console, open_browser: OpenBrowser, talk: Talk
) -> None:
    page = open_browser("mo")
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
    expect(message(page, wanted[0])).to_contain_text("Recalled by 客服 Support")
    expect(message(page, wanted[0]).locator(".tick input")).to_be_disabled()
    expect(message(page, talk.timestamps[0]).locator(".pill")).to_have_count(0)

    admin = open_browser("ada")
    admin.goto("/admin/")
    admin.get_by_role("link", name="Audit", exact=False).first.click()
    narrow = admin.locator("#changelist-filter, form.filters, main form").first
    narrow.locator("input[name=response_code][value='200']").check()
    narrow.locator("textarea[name=conversation]").fill(talk.conversation.get("group_id") or talk.conversation["user_a"])
    narrow.get_by_role("button", name="Apply").click()
    rows = admin.locator("#result_list tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("mo")
    expect(rows.locator(".field-code")).to_have_text("200")
    rows.locator("th a").click()
    for known in ("mo", "200", str(wanted[0]), str(wanted[1])):
        expect(admin.locator("#content")).to_contain_text(known)
    expect(admin.locator("#content")).not_to_contain_text(console.sandbox.appkey)
