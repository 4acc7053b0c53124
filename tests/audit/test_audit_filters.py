"""Filters of the audit log's list, and the indexes that serve them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from moderation.audit.admin import AuditEntryAdmin
from moderation.audit.request_context import COMMAND_LINE, NOBODY, WORKER

from .audit_list import LIST, PAIR, entry, listed

pytestmark = pytest.mark.django_db


only_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL plans by what a table holds")


@only_sqlite
@pytest.mark.parametrize("span", [{}, {"since": "2026-01-01T00:00", "until": "2026-01-04T00:00"}])
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"other_actors": "mo,lea"},
        {"action": ["recall.answered"]},
        {"app": ["default"]},
        {"response_code": ["none", "401"]},
        {"conversation": "group-1"},
        {"conversation": "user-a"},
        {"conversation": "user-a ↔ user-b"},
    ],
)
def test_an_index_has_each_filter_in_the_lists_order_with_and_without_a_span_of_time(
    reader: Client, application: Any, query: dict[str, Any], span: dict[str, str]
) -> None:
    for _ in range(3):
        last = entry(conversation=PAIR)
    for page in ({}, {"before": last.pk}):
        with CaptureQueriesContext(connection) as queries:
            reader.get(LIST, {**query, **span, **page})
        statements = [q["sql"] for q in queries.captured_queries if "ORDER BY 1 DESC, 2 DESC LIMIT 101" in q["sql"]]
        assert statements
        for sql in statements:
            assert not sorts(sql), sql


def sorts(sql: str) -> bool:
    """Whether the database sorts the rows of this query."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        return "TEMP B-TREE" in str(cursor.fetchall())


@only_sqlite
def test_a_sort_is_detected() -> None:
    assert sorts("SELECT id FROM audit_auditentry ORDER BY latency_ms")
    assert sorts("SELECT id FROM audit_auditentry WHERE actor = 'mo' ORDER BY id DESC LIMIT 101")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"action": ["recall.requested", "recall.unanswered"]}, "requested unanswered"),
        ({"actor": ["lea"]}, "refused"),
        ({"actor": ["lea", "mo"]}, "requested accepted refused strange"),
        ({"other_actors": "gone"}, "unanswered"),
        ({"actor": ["lea"], "other_actors": "gone, nobody"}, "refused unanswered"),
        ({"app": ["other"]}, "strange unanswered"),
        ({"other_apps": "other, nowhere"}, "strange unanswered"),
        ({"app": ["default"], "other_apps": "other"}, "requested accepted refused strange unanswered"),
        ({"app": ["other", "default"]}, "requested accepted refused strange unanswered"),
        ({"response_code": ["200"]}, "accepted"),
        ({"response_code": ["200", "401"]}, "accepted refused"),
        ({"response_code": ["none"]}, "requested unanswered"),
        ({"response_code": ["none", "401"]}, "requested refused unanswered"),
        ({"other_codes": "200,401"}, "accepted refused"),
        ({"response_code": ["401"], "other_codes": "-7，200"}, "accepted refused strange"),
        ({"conversation": "group-1"}, "requested accepted unanswered"),
        ({"conversation": "user-a"}, "refused strange"),
        ({"conversation": "user-c"}, "strange"),
        ({"conversation": "user-b\r\ngroup-1"}, "requested accepted refused unanswered"),
        ({"conversation": "user-b ↔ user-a"}, "refused"),
        ({"since": "2026-01-03T00:00:00"}, "refused strange unanswered"),
        ({"until": "2026-01-03T00:00:00"}, "requested accepted"),
        ({"since": "2026-01-02T00:00", "until": "2026-01-04T00:00"}, "accepted refused"),
        ({"recall": "00000000-0000-4000-8000-000000000001"}, "requested accepted"),
        ({"conversation": "group-1", "response_code": ["200", "401"], "actor": ["mo", "lea"]}, "accepted"),
        ({"conversation": "nobody"}, ""),
    ],
)
def test_filters_take_several_values_and_narrow_together(
    reader: Client, log: dict[str, int], query: dict[str, Any], expected: str
) -> None:
    assert set(listed(reader, **query)) == {log[name] for name in expected.split()}


def test_actors_without_an_account_are_offered_too(reader: Client) -> None:
    for name in (COMMAND_LINE, NOBODY, WORKER):
        written = entry(actor=name).pk
        assert listed(reader, actor=[name]) == [written]


@pytest.mark.parametrize(
    "query",
    [
        {"other_codes": "200,x"},
        {"response_code": ["999x"]},
        {"recall": "not a uuid"},
        {"since": "yesterday"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"until": "9999-12-31T23:59:59-14:00"},
        # Before the year 1 in UTC, as the reader's zone is ahead of it.
        {"since": "0001-01-01T00:00:00"},
        {"since": "2026-01-03T00:00", "until": "2026-01-02T00:00"},
        {"action": ["recall.forgotten"]},
        {"conversation": "\n".join(["group-1"] * 51)},
    ],
)
def test_an_invalid_filter_shows_an_error_and_no_entries(
    reader: Client, log: dict[str, int], query: dict[str, Any]
) -> None:
    response = reader.get(LIST, query)
    assert response.context["cl"].result_list == []
    assert "a filter cannot be understood" in response.content.decode()
    assert 'class="errorlist' in response.content.decode()


def test_filters_are_one_get_form_that_works_without_script(reader: Client, log: dict[str, int]) -> None:
    page = reader.get(LIST, {"response_code": ["200", "none"], "conversation": "group-1"}).content.decode()
    assert page.partition('<dialog id="jump-dialog"')[0].count('<form method="get"') == 1
    checked = re.findall(r'name="response_code" value="([^"]+)"[^>]*checked', page)
    assert checked == ["200", "none"]
    assert ">\ngroup-1</textarea>" in page
    assert "<script>" not in page
    assert " style=" not in page


def test_an_unknown_parameter_is_ignored(reader: Client, log: dict[str, int]) -> None:
    assert len(listed(reader, actor__startswith="m", o="1", p="2", q="x", e="1", all="")) == len(log)


def test_a_time_range_is_paged_in_order_of_time(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AuditEntryAdmin, "list_per_page", 1)
    written = []
    # Ids are not in order of time: the first id may be committed last.
    for at in ("2026-01-03T00:00:00", "2026-01-01T00:00:00", "2026-01-02T00:00:00"):
        with time_machine.travel(datetime.fromisoformat(f"{at}+00:00"), tick=False):
            written.append(entry().pk)
    seen, address = [], f"{LIST}?since=2026-01-01T00:00:00"
    while address:
        shown = reader.get(address).context["cl"]
        seen += [each.pk for each in shown.result_list]
        address = shown.older and LIST + shown.older
    assert seen == [written[0], written[2], written[1]]
    newer = reader.get(f"{LIST}?since=2026-01-01T00:00:00&after={written[1]}").context["cl"]
    assert [each.pk for each in newer.result_list] == [written[2]]
    # A page that begins outside of the time range stays within it.
    assert listed(reader, until="2026-01-02T00:00:00", before=written[0]) == [written[1]]
    assert listed(reader, since="2026-01-03T00:00:00", after=written[1]) == [written[0]]
