"""An entry's page in Django admin, and its links to other entries."""

from __future__ import annotations

import re
from datetime import datetime
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditEntry, AuditSeal

from .audit_list import GROUP, LIST, PAIR, entry

pytestmark = pytest.mark.django_db


def test_an_entry_is_readable(reader: Client) -> None:
    recall = uuid4()
    before = entry(action=Action.SENDING, recall=recall, batch=1)
    shown = entry(
        app="default",
        conversation=GROUP,
        recall=recall,
        batch=1,
        attempt=2,
        timestamps=[1767323045123],
        request={"appkey": "BC-…cdef", "recaller": {"data": {"name": "客服"}}},
        http_status=200,
        response_code=401,
        response_content="<b>Unauthorized</b>",
        latency_ms=1234,
        detail={"note": "垃圾<script>alert(1)</script>"},
    )
    after = entry(action=Action.CANCELLED, recall=recall)
    other = entry(recall=uuid4())
    page = reader.get(reverse("admin:audit_auditentry_change", args=[shown.pk])).content.decode()
    assert "客服" in page
    assert "BC-…cdef" in page
    assert "&lt;b&gt;Unauthorized&lt;/b&gt;" in page
    assert "<script>alert" not in page
    assert "1234 ms" in page
    assert "2026-01-02 11:04:05.123" in page
    assert "1767323045123" in page
    assert "Request 2 (batch 1 in the export)" in page
    assert "attempt 2" in page
    assert reverse("recall", args=[recall]) in page
    for near in (before, after):
        assert reverse("admin:audit_auditentry_change", args=[near.pk]) in page
    assert reverse("admin:audit_auditentry_change", args=[other.pk]) not in page
    assert f"?recall={recall}" in page


def test_a_long_recall_says_which_steps_are_not_shown(reader: Client) -> None:
    recall = uuid4()
    steps = [entry(recall=recall, batch=number).pk for number in range(12)]

    def section(pk: int) -> tuple[str, list[int]]:
        page = reader.get(f"{LIST}{pk}/change/").content.decode()
        part = page.partition("The same recall, step by step")[2]
        return part, [int(number) for number in re.findall(r"request (\d+)<", part)]

    first, calls = section(steps[0])
    assert calls == list(range(1, 12))
    assert "Later steps are not shown here" in first
    assert "Earlier steps" not in first
    last, calls = section(steps[11])
    assert calls == list(range(2, 13))
    assert f'href="{LIST}?recall={recall}">Earlier steps are not shown here' in last
    assert "Later steps" not in last
    middle, calls = section(steps[5])
    assert calls == list(range(1, 13))
    assert "not shown" not in middle
    # A numbered list would always begin at 1.
    assert "<ol" not in last


def test_the_way_back_from_an_entry_leads_to_the_list_as_it_was(reader: Client) -> None:
    for _number in range(3):
        entry(response_code=401)
    Sealer().seal()
    page = reader.get(LIST, {"response_code": ["200", "401"], "conversation": ""}).content.decode()
    address = unescape(re.findall(r'class="field-seq"><a href="([^"]+)"', page)[0])
    for _step in range(3):
        page = reader.get(address).content.decode()
        assert f'href="{LIST}?response_code=200&amp;response_code=401&amp;conversation="' in page
        if link := re.search(r'href="([^"]+)"\s+rel="prev"', page):
            address = unescape(link[1])
    # Without a list to go back to, the link has no filters.
    page = reader.get(address.partition("?")[0]).content.decode()
    assert re.search(rf'href="{LIST}">\s*Audit log<', page)


@pytest.mark.parametrize("app", ["default", "deleted", ""])
def test_an_entry_links_to_the_entries_of_its_conversation(reader: Client, application: Any, app: str) -> None:
    shown = entry(app=app, conversation={"kind": "group", "group_id": "a/b & c:d 🎉"})
    noise = entry(app="default", conversation=PAIR)
    entry(app="elsewhere", conversation={"kind": "group", "group_id": "a/b & c:d 🎉"})
    page = reader.get(reverse("admin:audit_auditentry_change", args=[shown.pk])).content.decode()
    link = re.search(r'href="([^"]+\?conversation=[^"]+)"', page)
    assert link
    numbers = [each.pk for each in reader.get(link[1].replace("&amp;", "&")).context["cl"].result_list]
    assert numbers[-1] == shown.pk
    assert noise.pk not in numbers
    assert app == "" or len(numbers) == 1


def test_an_entry_of_an_action_unknown_to_this_version_is_shown(reader: Client) -> None:
    shown = AuditEntry.objects.create(at=datetime.fromisoformat("2026-01-02T00:00:00Z"), actor="x", action="new.action")
    assert "new.action" in reader.get(LIST).content.decode()
    assert reader.get(reverse("admin:audit_auditentry_change", args=[shown.pk])).status_code == 200


@pytest.mark.parametrize("number", ["99999999", "x", "99999999999999999999999"])
def test_an_entry_that_does_not_exist_is_404(reader: Client, number: str) -> None:
    assert reader.get(f"{LIST}{number}/change/").status_code == 404


def test_an_entry_shows_its_place_in_the_chain(reader: Client) -> None:
    entry()
    shown = entry()
    address = reverse("admin:audit_auditentry_change", args=[shown.pk])
    assert "Not sealed yet" in reader.get(address).content.decode()
    Sealer().seal()
    page = reader.get(address).content.decode()
    seal = AuditSeal.objects.get(entry=shown)
    assert seal.seq == 2
    assert seal.hash in page
    assert seal.prev_hash in page
    assert "<title>Entry 2: request answered" in page
    assert re.findall(r'class="field-seq">(?:<a [^>]*>)?([^<]+)<', reader.get(LIST).content.decode()) == ["2", "1"]


def test_an_entry_links_to_the_previous_and_the_next(reader: Client) -> None:
    first, second, third = (entry().pk for _number in range(3))
    Sealer().seal()
    page = reader.get(f"{LIST}{second}/change/").content.decode()
    assert re.search(rf'href="{LIST}{first}/change/"\s+rel="prev"', page)
    assert re.search(rf'href="{LIST}{third}/change/"\s+rel="next"', page)
    assert 'rel="prev"' not in reader.get(f"{LIST}{first}/change/").content.decode()
