"""Checks of every page: the state of the console, the variants of a page, and what is checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from django.db import connection
from django.urls import URLResolver, get_resolver
from playwright.sync_api import Page

# How a page looks does not depend on the engine: with PostgreSQL each page is requested, but not rendered.
LOOKS = connection.vendor == "sqlite"
# Of repeated rows axe checks the first ones only.
REPEATED = [
    f"{row}:nth-child(n+13)" for row in (".hits > *", "ol.evidence > li", "tbody tr", ".conversation-rows > li")
]

# Run inside the console: the demo's conversations are archived, and in one of them a recall comes to each state.
ARRANGE = """
import json, os, time, uuid, requests
from moderation.accounts.models import Pseudonym, User
from moderation.applications.models import Application
from moderation.archive.models import Conversation, Message
from moderation.audit.models import Action, AuditEntry, AuditJob
from moderation.goeasy.sandbox.seed import DEMO_CONVERSATIONS, TOWN_SQUARE
from moderation.ingestion.backfill import read_latest
from moderation.ingestion.deliveries import accept
from moderation.ingestion.models import UnreadableMessage, WebhookDelivery
from recall import decisions, services, sweeps
from recall.models import Recall, RecallReason

faults = os.environ["GOEASY_REST_HOST"] + "/sandbox/faults"
application = Application.objects.get()
mo, lin = (User.objects.get(username=name) for name in ("mo", "lin"))
Pseudonym.objects.create(application=application, user=lin, recaller_id="care", recaller_data={"name": "客服"})
for target in DEMO_CONVERSATIONS:
    read_latest(Conversation.objects.open(application, target), pages=5)
accept(application, b"no JSON")
UnreadableMessage.objects.create(
    conversation=Conversation.objects.last(), raw='{"ts": 1, "s": "u"}', sha256="0" * 64, length=19)
town = Conversation.objects.get(group_id=TOWN_SQUARE)
guild = Conversation.objects.get(group_id="g-guild-azure")
free = guild.message_set.filter(recalled=False).order_by("-timestamp").values_list("timestamp", flat=True)
free = list(dict.fromkeys(free))
made = {}

def ask(state, *rules, count=2, grace=0):
    requests.post(faults, json={"rules": rules})
    made[state] = recall = services.request_recall(
        conversation=guild, actor=mo, reason=RecallReason.objects.first(), recaller=None,
        note="Reported by three members.\\nSee ticket 4711.",
        timestamps=[free.pop(60) for _ in range(count)], submission=uuid.uuid4(), grace_seconds=grace)
    while not grace and not Recall.objects.get(pk=recall.pk).is_final:
        time.sleep(0.05)

ask("accepted")
ask("refused", {"on": "recall", "kind": "refuse", "code": 400, "content": "wrong " * 30})
ask("unknown", {"on": "recall", "kind": "drop_after"})
ask("undecided", {"on": "recall", "kind": "drop_after"})
made["undecided"].batches.update(check_at=None, checks=6)
ask("stopped", {"on": "recall", "kind": "refuse", "code": 401}, count=25)
ask("waiting", grace=3600)
ask("cancelled", grace=3600)
decisions.cancel_recall(made["cancelled"], mo)
requests.delete(faults)
span = dict(application=application, sender_id="promo-7731", since=0, until=2**50)
sweep = sweeps.request_sweep(**span, actor=mo, reason=RecallReason.objects.first(), note="", recaller=None,
    submission=uuid.uuid4(), grace_seconds=3600)
# Called off: what it names is needed by other tests.
sweeps.cancel_sweep(sweep, mo)
models = User, Pseudonym, Application, Conversation, Message, WebhookDelivery, Recall, RecallReason, AuditEntry
models += (UnreadableMessage,)
entries = [AuditEntry.objects.filter(action=action).last() for action in Action.values]
jobs = [
    AuditJob.objects.create(kind=kind, state=state, format="csv", actor="audrey", done=done, total=70, problem=problem)
    for kind, state, done, problem in (
        ("export", "waiting", 0, ""), ("export", "running", 33, ""), ("export", "done", 70, ""),
        ("verification", "done", 70, ""), ("verification", "done", 12, "seq 12: its seal is missing"),
        ("verification", "failed", 12, "OSError"))
]
print(json.dumps({
    "jobs": [str(job.pk) for job in jobs],
    "conversation": town.pk,
    "sweep": str(sweep.pk),
    **{state: str(recall.pk) for state, recall in made.items()},
    "ids": {model._meta.label_lower.replace(".", "_"): str(model._default_manager.last().pk) for model in models},
    "entries": [entry.pk for entry in entries if entry],
}))
"""

DRESSES: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"width": 390, "height": 844, "has_touch": True, "is_mobile": True},
    "dark phone": {"width": 390, "height": 844, "has_touch": True, "is_mobile": True, "color_scheme": "dark"},
}


def routes(resolver: Any = None, namespace: str = "") -> Iterator[tuple[str, str]]:
    """Every route that the URL resolver knows: its name, and its pattern."""
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, f"{pattern.namespace}:" if pattern.namespace else namespace)
        else:
            yield f"{namespace}{pattern.name or ''}", str(pattern.pattern)


def axe_violations(page: Page) -> list[str]:
    """Violations of WCAG 2.2 A and AA that axe reports, one line each."""
    options = {
        "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
        "resultTypes": ["violations"],
        # With it axe would add a style of its own, which the CSP refuses.
        "preload": False,
    }
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    context = {"exclude": [[selector] for selector in REPEATED]}
    # Only what is wrong: what is right would take longer to carry over than to find.
    run = "([context, options]) => axe.run(context, options).then((results) => results.violations)"
    violations = page.evaluate(run, [context, options])
    return [f"{page.url}: {rule['id']} {node['html'][:200]}" for rule in violations for node in rule["nodes"]]


def has_no_sideways_scroll(page: Page) -> bool:
    """Whether the page fits into the width of the window."""
    width: bool = page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    return width


def look(page: Page) -> list[str]:
    """Violations that axe reports, and whether the page is wider than its window; none where pages are not rendered."""
    if not LOOKS:
        return []
    wide = [] if has_no_sideways_scroll(page) else [f"{page.url}: scrolls sideways"]
    return axe_violations(page) + wide


def visit(page: Page, addresses: list[str]) -> None:
    """Check each page and report all violations together. The page for a refusal is checked once."""
    violations, refused = [], False
    if LOOKS:
        page.add_init_script(AXE_SCRIPT)
    for address in addresses:
        answer = page.goto(address) if LOOKS else page.request.get(address)
        assert answer
        assert answer.status < 500, address
        if answer.status != 403 or not refused:
            violations += look(page)
        refused = refused or answer.status == 403
    assert violations == [], "\n".join(violations)
