"""Message content: shown as text, loaded only on request, and never moved under the cursor."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console
from tests.browser.pages import look
from tests.browser.steps import Talk, group_talk, is_ready, message, open_talk, private_talk

OpenBrowser = Callable[..., Page]

NANOSECONDS = 1795718732695123456


@pytest.fixture
def page(open_browser: OpenBrowser) -> Page:
    return open_browser()


def say(talk: Talk, kind: str, payload: object) -> int:
    """One message of any type; its timestamp."""
    timestamp = talk.timestamps[-1] + 1000
    said = {"type": kind, "senderId": "member-1", "timestamp": timestamp, "payload": payload}
    talk.console.sandbox.add_messages(talk.conversation, [said])
    talk.timestamps.append(timestamp)
    return timestamp


def test_a_hostile_message_is_text(console: Console, page: Page) -> None:
    talk = group_talk(console, 1)
    script = say(talk, "text", {"text": "<script>document.title = 'got you'</script><img src=x onerror=alert(1)>"})
    turned = say(talk, "text", {"text": "open \u202egnp.exe\u202c please"})
    long = say(talk, "text", {"text": "🎉🥳" * 380})
    wrong = say(talk, "image", {"width": "wide", "url": "javascript:alert(1)"})
    own = say(talk, "order", {"orderId": "A-1", "items": [{"sku": "tea", "count": 2}]})
    page.on("dialog", lambda dialog: pytest.fail(f"a message has opened a dialog: {dialog.message}"))
    open_talk(page, talk)
    expect(message(page, script).locator(".text")).to_contain_text("<script>document.title")
    expect(page).not_to_have_title("got you")
    expect(message(page, script).locator(".body img, .body script")).to_have_count(0)
    # Nothing turns the direction of what is read: the mark is shown as a mark.
    assert "\u202e" not in message(page, turned).inner_text()
    expect(message(page, turned)).to_contain_text("gnp.exe")
    expect(message(page, long).locator("details.long")).to_have_count(1)
    expect(message(page, wrong).locator("[data-media], a[href^=javascript]")).to_have_count(0)
    expect(message(page, own).locator(".json")).to_contain_text('"orderId": "A-1"')
    assert look(page) == []


def test_a_picture_is_loaded_when_somebody_asks_and_not_before(console: Console, page: Page) -> None:
    talk = group_talk(console, 1)
    url = f"{console.sandbox.url}/sandbox/media/photo-1.png"
    shown = say(talk, "image", {"url": url, "name": "photo-1.png", "contentType": "image/png", "size": 1234})
    elsewhere = say(talk, "image", {"url": "https://elsewhere.example/x.png", "name": "x.png"})
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    open_talk(page, talk)
    assert not any(address.startswith(console.sandbox.url) for address in requested)
    message(page, shown).get_by_role("button", name="Show image").click()
    picture = message(page, shown).locator("figure img")
    expect(picture).to_have_js_property("naturalWidth", 320)
    assert url in requested
    # Blurred until somebody looks on purpose: the person's own choice.
    page.mouse.move(0, 0)
    page.locator("#filter").focus()
    expect(picture).to_have_css("filter", "blur(18px)")
    expect(message(page, elsewhere).locator("[data-media]")).to_have_count(0)
    expect(message(page, elsewhere)).to_contain_text("elsewhere.example is not among the hosts that are allowed")


def test_new_messages_are_announced_and_loaded_on_request(
    console: Console, page: Page, open_browser: OpenBrowser
) -> None:
    talk = private_talk(console, "one", "two")
    page.clock.install()
    open_talk(page, talk)
    seen = talk.timestamps[-1]
    talk.say("late", "later")
    # The console reads history once in a while, and at once for whoever opens the page.
    other = open_browser("lea")
    other.goto(page.url)
    is_ready(other, talk)
    page.clock.fast_forward(16_000)
    offer = page.get_by_role("button", name="2 new messages – show")
    expect(offer).to_be_visible()
    expect(page.locator("#messages .message")).to_have_count(2)
    offer.click()
    expect(page.locator("#messages .message")).to_have_count(4)
    expect(message(page, talk.timestamps[-2])).to_be_focused()
    expect(message(page, seen)).to_be_visible()


def test_late_messages_are_placed_by_time_and_none_is_shown_twice(
    console: Console, page: Page, open_browser: OpenBrowser
) -> None:
    talk = private_talk(console, "one", "two")
    page.clock.install()
    open_talk(page, talk)
    first, second = talk.timestamps
    # As a webhook brings them.
    for timestamp in (second - 500, NANOSECONDS):
        raw = json.dumps({"type": "text", "timestamp": timestamp, "messageId": f"m-{timestamp}", "senderId": "late"})
        console.run(
            "from moderation.archive.ingest import ingest\n"
            "from moderation.archive.models import Conversation\n"
            f"ingest(Conversation.objects.get(user_a={talk.name!r}), [{raw!r}])"
        )
    other = open_browser("lea")
    for _round in range(2):
        page.clock.fast_forward(16_000)
        offer = page.get_by_role("button", name="new message")
        expect(offer).to_have_text(re.compile("2 new messages|1 new message"))
        offer.click()
        expect(offer).to_have_count(0)
        talk.say("later")
        # The console reads history once in a while, and at once for whoever opens the page.
        other.goto(page.url)
        is_ready(other, talk)
    shown = page.locator("#messages .message").evaluate_all("rows => rows.map((row) => row.dataset.timestamp)")
    assert shown[:3] == [str(at) for at in (first, second - 500, second)]
    assert len(shown) == len(set(shown)) == 5
    days = page.locator("#messages .day").evaluate_all("days => days.map((day) => day.dataset.day)")
    assert len(days) == len(set(days))
    expect(message(page, NANOSECONDS)).to_contain_text(f"time not plausible: {NANOSECONDS}")
    page.clock.fast_forward(16_000)
    expect(page.get_by_role("button", name="new message")).to_have_text(re.compile("1 new message"))


def test_messages_of_one_millisecond_are_ticked_together(console: Console, page: Page) -> None:
    talk = group_talk(console, 3)
    talk.say("at the very same moment", sender="member-9", at=talk.timestamps[1])
    open_talk(page, Talk(console, talk.conversation, talk.timestamps[:3]))
    both = message(page, talk.timestamps[1])
    expect(both).to_have_count(2)
    expect(both.first).to_contain_text("2 messages at this millisecond: GoEasy recalls all of them or none.")
    both.first.locator(".tick").click()
    expect(page.locator("#sum")).to_have_text("2 messages · 1 request")
    for row in both.all():
        expect(row.locator("input")).to_be_checked()
    both.last.locator(".tick").click()
    expect(page.locator("#sum")).to_have_text("Nothing is selected.")
