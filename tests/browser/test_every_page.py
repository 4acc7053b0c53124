"""Every page that somebody can see, in every dress: no axe violation (WCAG 2.2 A, AA), no CSP violation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from moderation.goeasy.sandbox.seed import DEMO_CONVERSATIONS
from tests.browser.conftest import Console, axe_violations, sign_in
from tests.browser.steps import group_talk, has_no_sideways_scroll, open_talk, private_talk, tick

OpenBrowser = Callable[..., Page]

# One recall that has come to each state, among the demo's conversations.
ARRANGE = """
import json, os, time, uuid, requests
from moderation.accounts.models import Pseudonym, User
from moderation.archive.backfill import read_latest
from moderation.archive.models import Application, Conversation
from moderation.goeasy.client import Group, Private
from recall import services
from recall.models import Recall, RecallReason

sandbox = os.environ["GOEASY_REST_HOST"]
application = Application.objects.get()
mo = User.objects.get(username="mo")
Pseudonym.objects.get_or_create(application=application, user=mo, recaller_id="care", recaller_data={"name": "客服"})
made = {}

def ask(state, faults, count=2, grace=0):
    requests.post(f"{sandbox}/sandbox/faults", json={"rules": faults})
    found = list(town.message_set.filter(recalled=False).order_by("-timestamp").values_list("timestamp", flat=True)[:200])
    start = 7 + 30 * len(made)
    recall = services.request_recall(
        conversation=town, actor=mo, reason=RecallReason.objects.first(), note="two\\nlines", recaller=None,
        timestamps=found[start : start + count], submission=uuid.uuid4(), grace_seconds=grace)
    made[state] = recall
    while not grace and not Recall.objects.get(pk=recall.pk).is_final:
        time.sleep(0.05)

for name in NAMES:
    target = Group(name[0]) if len(name) == 1 else Private(*name)
    conversation = Conversation.objects.open(application, target)
    read_latest(conversation, pages=10)
    if name == ["g-town-square"]:
        town = conversation
ask("accepted", [])
ask("refused", [{"on": "recall", "kind": "refuse", "code": 400, "content": "wrong " * 30}])
ask("unknown", [{"on": "recall", "kind": "drop_after"}])
ask("stopped", [{"on": "recall", "kind": "refuse", "code": 401}], count=25)
ask("waiting", [], grace=3600)
ask("cancelled", [], grace=3600)
services.cancel_recall(made["cancelled"], mo)
requests.delete(f"{sandbox}/sandbox/faults")
print(json.dumps({"conversation": town.pk, **{state: str(recall.pk) for state, recall in made.items()}}))
"""

DRESSES: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"width": 390, "height": 844, "has_touch": True, "is_mobile": True},
    "phone-dark": {"width": 390, "height": 844, "color_scheme": "dark"},
}


@pytest.fixture(scope="module")
def world(console: Console) -> dict[str, Any]:
    """The demo's conversations in the archive, and the ids of a recall in each state."""
    console.sandbox.seed()
    names = [
        [target.group_id] if hasattr(target, "group_id") else [target.user_a, target.user_b]
        for target in DEMO_CONVERSATIONS
    ]
    found: dict[str, Any] = json.loads(console.run(ARRANGE.replace("NAMES", json.dumps(names))))
    return found


def check(page: Page, *addresses: str, phone: bool) -> None:
    """Look at each page as axe does, and at a phone's width for what does not fit."""
    found: list[str] = []
    for address in addresses:
        page.goto(address)
        found += axe_violations(page)
        if phone and not has_no_sideways_scroll(page):
            found.append(f"{page.url}: scrolls sideways")
    assert found == []


@pytest.mark.parametrize(
    ("username", "dress"), [("mo", "light"), ("lea", "dark"), ("mo", "phone"), ("audrey", "phone-dark"), ("zhao", "dark")]
)
def test_the_desk(console: Console, open_browser: OpenBrowser, world: dict[str, Any], username: str, dress: str) -> None:
    page = open_browser(username, **DRESSES[dress])
    acting = username != "audrey"
    talk = f"/conversations/{world['conversation']}/"
    states = [f"/recalls/{world[s]}/" for s in ("accepted", "refused", "unknown", "stopped", "waiting", "cancelled")]
    check(
        page,
        *("/", "/open/", "/open/?q=u-1001", "/open/?q=nobody", "/conversations/", "/conversations/?q=u-1001&kind=private"),
        # The auditor meets the page that refuses.
        *("/conversations/open/", "/recalls/new/?kind=group&group_id=g&timestamps=1,2"),
        *(talk, *states, f"/recalls/{world['stopped']}/?only=pending", "/recalls/", "/recalls/?state=stopped&outcome=unknown"),
        *("/accounts/preferences/", "/accounts/password/", "/nowhere/"),
        phone=dress.startswith("phone"),
    )
    if not acting:
        return
    page.goto(talk)
    tick(page, *(int(stamp) for stamp in page.locator(".message:not(.recalled) .tick input:enabled").evaluate_all("a => a.map((b) => b.value)")[-3:]))


def test_whoever_is_not_signed_in_meets_no_barrier(console: Console, open_browser: OpenBrowser) -> None:
    page = open_browser(None)
    check(page, "/accounts/login/", "/recalls/", "/admin/login/", phone=False)
    page = open_browser(None, locale="zh-CN", **DRESSES["phone-dark"])
    check(page, "/accounts/login/", "/admin/login/", phone=True)
