"""An entry's page: labelled rows in the reader's language, with the stored JSON on demand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import translation

from moderation.accounts.models import User
from moderation.audit import entry_rows
from moderation.audit.events import LogVerified
from moderation.audit.models import Action, AuditEntry
from moderation.audit.services import record as record_event
from recall.events import RecallRequested, RecallStopped

from .entries import record

pytestmark = pytest.mark.django_db
RECALL = UUID("00000000-0000-4000-8000-000000000001")
GROUP = {"kind": "group", "group_id": "group-1"}

PageOf = Callable[[AuditEntry], str]


@pytest.fixture
def page_of(client: Client, auditor: Any) -> PageOf:
    """A function that returns an entry's page."""
    client.force_login(auditor)

    def page_of(entry: AuditEntry) -> str:
        return client.get(reverse("admin:audit_auditentry_change", args=[entry.pk])).content.decode()

    return page_of


def labelled(entry: AuditEntry) -> dict[str, str]:
    return {row.label: str(row.value) for row in entry_rows.detail_rows(AuditEntry.objects.get(pk=entry.pk))}


def test_each_field_is_a_row_with_its_label(page_of: PageOf, reason: Any) -> None:
    entry = record_event(
        RecallRequested(
            actor="mo",
            app="default",
            conversation=GROUP,
            recall=RECALL,
            timestamps=[5],
            reason="spam",
            recaller={"id": "team", "data": None},
            recaller_overridden=True,
            calls=1,
            note="a <b>note</b>",
        )
    )
    rows = labelled(entry)
    assert rows["Reason"] == str(reason)
    assert rows["Recaller changed for this recall"] == "yes"
    assert rows["Requests"] == "1"
    assert "team" in rows["Shown to app users as the recaller"]
    assert "private" not in rows
    page = page_of(entry)
    assert "<dt>Reason</dt>" in page
    assert "<dt>Note</dt>" in page
    assert "a &lt;b&gt;note&lt;/b&gt;" in page
    assert "<b>note</b>" not in page
    # The stored JSON, on demand.
    assert "&quot;recaller_overridden&quot;: true" in page
    assert page.count("<summary>As it is stored</summary>") == 2


def test_codes_are_shown_by_their_meaning() -> None:
    stopped = RecallStopped(actor="mo", app="default", conversation=GROUP, recall=RECALL, reason="key_refused")
    assert labelled(record_event(stopped))["Why"] == "GoEasy refused the key"
    broken = LogVerified(actor="mo", checkpoints=0, problem="seq 7: its seal is missing")
    with translation.override("zh-hans"):
        (problem,) = [row.value for row in entry_rows.detail_rows(record_event(broken)) if "7" in str(row.value)]
    assert "seal is missing" not in problem


def test_a_changed_row_has_a_row_for_each_change(page_of: PageOf, moderator: User) -> None:
    moderator.role = "lead"
    moderator.set_password("another correct horse battery staple")
    moderator.save()
    entry = AuditEntry.objects.filter(action=Action.ACCOUNT_CHANGED).latest("pk")
    rows = labelled(entry)
    assert rows["role"] == "moderator → lead"
    assert rows["password"] == "changed"
    assert rows["Change"] == "changed"
    assert "staple" not in page_of(entry)


def test_a_field_that_no_event_class_knows_keeps_its_name(page_of: PageOf) -> None:
    detail = {"page": "conversation", "wörd": [1, {"x": None}], "odd": None}
    entry = record(actor="mo", action=Action.CONVERSATION_OPENED, detail=detail, schema=1)
    rows = entry_rows.detail_rows(entry)
    assert [(row.label, row.is_key) for row in rows] == [("Page", False), ("wörd", True), ("odd", True)]
    page = page_of(entry)
    assert '<code translate="no">wörd</code>' in page
    assert "<dt>Page</dt>" in page


@pytest.mark.parametrize(
    "detail",
    [
        {"changes": "no object", "did": 7, "id": None, "name": {"a": []}},
        {"changes": {"role": {"from": [1, [2]], "to": None}, "gone": "set", "left": 5, "": {}}},
        {"reason": {"not": "text"}, "calls": [[[]]], "batches": list(range(500)), "again": "yes"},
        {"problem": 5, "key_problem": "of another version", "checkpoints": None},
    ],
)
@pytest.mark.parametrize("action", [Action.ACCOUNT_CHANGED, Action.REQUESTED, Action.LOG_VERIFIED, "of.another"])
def test_details_of_any_form_are_readable(page_of: PageOf, action: Any, detail: dict[str, Any]) -> None:
    entry = record(actor="mo", action=action, detail=detail, private={"note": "x", "deep": [[1]]}, schema=1)
    page = page_of(entry)
    for key in detail:
        assert f"&quot;{key}&quot;" in page
    assert len(entry_rows.detail_rows(entry)) >= len(detail)


@pytest.mark.parametrize("content", ["no JSON", "[1]", "5", json.dumps({"note": "垃圾"})])
def test_a_private_part_of_any_form_is_readable(content: str) -> None:
    entry = record(actor="mo", action=Action.HELD, private={"note": "x"})
    entry.private.content = content
    (row,) = entry_rows.private_rows(entry)
    assert str(row.value)
