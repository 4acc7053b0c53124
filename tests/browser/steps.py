"""Steps in a browser, and their effect as the sandbox has it."""

from __future__ import annotations

import itertools
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Console

SEEN_BY_CLIENTS = {"id": "support", "data": {"name": "客服 Support"}}
SETTLED = re.compile("accepted|finished", re.IGNORECASE)


@dataclass
class Talk:
    """A conversation that only one test uses. `timestamps` (ms): of its messages, oldest first."""

    console: Console
    conversation: dict[str, str]
    timestamps: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The group's id, or the first user's: what finds it."""
        return self.conversation.get("group_id") or self.conversation["user_a"]

    @property
    def fields(self) -> dict[str, str]:
        """What GoEasy's body names it by."""
        if self.conversation["kind"] == "group":
            return {"groupId": self.conversation["group_id"]}
        return {"userAId": self.conversation["user_a"], "userBId": self.conversation["user_b"]}

    @property
    def recalled(self) -> dict[int, Any]:
        """What GoEasy has taken back of it: the timestamp, and the recaller that every client sees."""
        messages = self.console.sandbox.messages(self.conversation)
        return {each["timestamp"]: each.get("recaller") for each in reversed(messages) if each.get("recalled")}

    @property
    def calls(self) -> list[list[int]]:
        """The timestamps of each recall call that reached GoEasy, in order."""
        bodies = [call["body"] for call in self.console.sandbox.calls("recall")]
        return [body["messages"] for body in bodies if self.fields.items() <= body.items()]

    def say(self, *texts: str, sender: str | None = None, at: int | None = None) -> None:
        """Put more messages there: `sender` says `texts`, a second apart, beginning at `at` (ms)."""
        sender = sender or self.conversation.get("user_a", "member-1")
        begin = at or (self.timestamps[-1] + 1000 if self.timestamps else time.time_ns() // 1_000_000 - 7_200_000)
        said = [
            {"type": "text", "senderId": sender, "timestamp": begin + 1000 * n, "payload": {"text": text}}
            for n, text in enumerate(texts)
        ]
        if self.conversation["kind"] == "group":
            for message in said:
                message["senderData"] = {"name": sender.title()}
        self.console.sandbox.add_messages(self.conversation, said)
        self.timestamps.extend(message["timestamp"] for message in said)  # type: ignore[arg-type]


def private_talk(console: Console, *texts: str) -> Talk:
    """Two people, of whom the first says `texts`."""
    name = uuid.uuid4().hex[:8]
    talk = Talk(console, {"kind": "private", "user_a": f"buyer-{name}", "user_b": f"seller-{name}"})
    talk.say(*texts)
    return talk


def group_talk(console: Console, count: int, *, senders: int = 1) -> Talk:
    """A group in which `senders` members say `count` messages in turn."""
    talk = Talk(console, {"kind": "group", "group_id": f"group-{uuid.uuid4().hex[:8]}"})
    members = itertools.cycle(range(1, senders + 1))
    for n in range(count):
        talk.say(f"message {n + 1}", sender=f"member-{next(members)}")
    return talk


# The desk


def open_talk(page: Page, talk: Talk) -> None:
    """Open a conversation by the form for ids."""
    page.goto("/conversations/open/")
    conversation = talk.conversation
    page.locator(f"input[name=kind][value={conversation['kind']}]").check()
    for name in ("user_a", "user_b", "group_id"):
        if name in conversation:
            page.locator(f"input[name={name}]").fill(conversation[name])
    page.locator("main form button.primary").click()
    is_ready(page, talk)


def is_ready(page: Page, talk: Talk) -> None:
    """Wait for the conversation's page and its current row."""
    expect(message(page, talk.timestamps[-1])).to_be_visible()
    expect(page.locator("#messages .message[tabindex='0']")).to_have_count(1)


def message(page: Page, timestamp: int) -> Locator:
    """A row of the timeline."""
    return page.locator(f"#messages .message[data-timestamp='{timestamp}']")


def tick(page: Page, *timestamps: int) -> None:
    """Select messages with the mouse."""
    for timestamp in timestamps:
        message(page, timestamp).locator(".tick").click()


def load_older(page: Page, timestamp: int) -> None:
    """Load older messages until the one at `timestamp` is shown."""
    while not message(page, timestamp).count():
        count = page.locator("#messages .message").count()
        page.locator("#older button").click()
        expect(page.locator("#messages .message")).not_to_have_count(count)


def review(page: Page, reason: str = "spam") -> None:
    """Fill in the reason and open the review."""
    page.locator("#recall_reason").select_option(reason)
    page.locator("#review").click()
    expect(page.locator(".review h1")).to_be_visible()


def confirm(page: Page, *, typed: int | None = None) -> None:
    """Confirm; ends on the recall's page, to which the notice in the conversation leads."""
    if typed is not None:
        page.locator("#id_typed_count").fill(str(typed))
    page.locator("button[name=confirm]").click()
    page.wait_for_url(re.compile(r"/recalls/[0-9a-f-]{36}/|\?recall="))
    if "?recall=" in page.url:
        page.locator("#toast").get_by_role("link", name=re.compile("Details|详情")).click()
        page.wait_for_url(re.compile(r"/recalls/[0-9a-f-]{36}/"))


def wait_until(page: Page, state: str) -> None:
    """Wait until the recall's page shows `state`."""
    expect(page.locator(f"#recall-pill .pill.{state}")).to_be_visible(timeout=20_000)


def codes(page: Page) -> list[str]:
    """The response codes that the recall's page shows, call by call."""
    return page.locator("table.calls td[data-label='Response code']").all_inner_texts()
