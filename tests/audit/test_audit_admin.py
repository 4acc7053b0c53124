"""The audit log's list in Django admin: columns, pages by key, integrity, permissions."""

from __future__ import annotations

import inspect
import io
import re
from datetime import datetime
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from moderation.audit import columns, timeline, verifier
from moderation.audit.admin import AuditEntryAdmin
from moderation.audit.ledger import checkpoints, problems, verification
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditSeal

from .audit_list import LIST, PAIR, entry, listed
from .entries import record

pytestmark = pytest.mark.django_db


def show_columns(reader: Client, *names: str) -> Any:
    """Choose the columns of the list as its form does."""
    return reader.post(f"{LIST}columns/", {"column": names, "query": "actor=mo"})


def test_the_list_shows_what_a_reader_looks_for(reader: Client) -> None:
    recall = uuid4()
    show_columns(reader, *columns.CHOICES)
    with time_machine.travel(datetime.fromisoformat("2026-01-02T03:04:05.123456+00:00"), tick=False):
        entry(
            app="default",
            conversation=PAIR,
            recall=recall,
            timestamps=[1767323045123, 1767323045124],
            http_status=200,
            response_code=401,
            latency_ms=87,
        )
        page = reader.get(LIST).content.decode()
    assert "2026-01-02 11:04:05.123" in page
    assert "2026-01-02 03:04:05.123 UTC" in page
    assert "Asia/Shanghai (UTC+08:00)" in page
    assert '<span class="pill refused">401</span>' in page
    assert "user-a ↔ user-b" in page
    assert '<td class="field-timestamp_count">2</td>' in page
    assert '<td class="field-http_status">200</td>' in page
    assert "87 ms" in page
    assert reverse("recall", args=[recall]) in page


def test_the_columns_are_those_that_were_chosen(reader: Client) -> None:
    def shown() -> set[str]:
        page = reader.get(LIST).content.decode()
        return {name for name in columns.CHOICES if f'class="field-{name}' in page}

    entry()
    assert shown() == {"recall_link"}
    answer = show_columns(reader, "latency", "app", "detail", "<script>")
    assert answer.headers["Location"] == f"{LIST}?actor=mo"
    assert shown() == {"latency", "app"}
    show_columns(reader)
    assert shown() == set()
    assert 'class="field-sentence"' in reader.get(LIST).content.decode()
    assert reader.get(f"{LIST}columns/").status_code == 403


def test_a_broken_cookie_of_columns_is_ignored(reader: Client) -> None:
    reader.cookies[columns.COOKIE] = "latency.nothing..<b>"
    assert reader.get(LIST).status_code == 200


def test_each_answer_has_its_pill(reader: Client) -> None:
    entry(response_code=200)
    entry(action=Action.UNANSWERED)
    entry(response_code=408)
    entry(http_status=502)
    entry(http_status=404)
    page = reader.get(LIST).content.decode()
    assert '<span class="pill accepted">200</span>' in page
    assert '<span class="pill unknown">no answer</span>' in page
    assert '<span class="pill unknown">408</span>' in page
    assert '<span class="pill unknown">no code</span>' in page
    assert '<span class="pill refused">no code</span>' in page


def test_the_newest_comes_first(reader: Client) -> None:
    numbers = [entry().pk for _ in range(3)]
    assert listed(reader) == numbers[::-1]


def test_pages_are_selected_by_key_in_both_directions(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AuditEntryAdmin, "list_per_page", 2)
    numbers = [entry().pk for _ in range(5)][::-1]
    seen, url, pages = [], LIST, 0
    while url:
        cl = reader.get(url).context["cl"]
        seen += [each.pk for each in cl.result_list]
        pages += 1
        url = LIST + cl.older if cl.older else ""
    assert seen == numbers
    assert pages == 3
    back = reader.get(LIST, {"before": numbers[3]}).context["cl"]
    newer = reader.get(LIST + back.newer).context["cl"]
    assert [each.pk for each in newer.result_list] == numbers[2:4]
    newest = reader.get(LIST + newer.newer).context["cl"]
    assert [each.pk for each in newest.result_list] == numbers[:2]
    assert newest.newer is None


def test_links_between_pages_keep_the_filters(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AuditEntryAdmin, "list_per_page", 1)
    first, second = entry(response_code=200), entry(response_code=401)
    entry(response_code=500)
    cl = reader.get(LIST, {"response_code": ["200", "401"]}).context["cl"]
    assert [each.pk for each in cl.result_list] == [second.pk]
    assert [each.pk for each in reader.get(LIST + cl.older).context["cl"].result_list] == [first.pk]


@pytest.mark.parametrize("cursor", ["x", "0", "-1", "99999999999999999999999", "1; DROP TABLE"])
def test_an_invalid_cursor_shows_the_newest_page(reader: Client, cursor: str) -> None:
    number = entry().pk
    assert listed(reader, before=cursor) == [number]
    assert listed(reader, after=cursor) == [number]


def test_the_list_uses_no_count_offset_or_distinct(reader: Client) -> None:
    for _ in range(3):
        entry(timestamps=[1767323045123] * 20, request={"messages": []}, detail={"note": "x"})
    query = {"other_actors": "mo", "response_code": ["none"], "conversation": "user-a", "app": ["default"]}
    for data in ({}, {"before": 3}, query, {**query, "after": 1}):
        with CaptureQueriesContext(connection) as queries:
            assert reader.get(LIST, data).status_code == 200
        on_the_log = [q["sql"] for q in queries.captured_queries if "audit_auditentry" in q["sql"]]
        assert on_the_log
        for sql in on_the_log:
            assert not re.search(r"OFFSET|DISTINCT", sql, re.IGNORECASE), sql
            # The count of a day's entries is limited.
            assert "COUNT(" not in sql or f"LIMIT {timeline.MAX_COUNTED + 1})" in sql, sql
            columns = sql.partition(" FROM ")[0]
            heavy = ("request", "response_content")
            assert sql.endswith("LIMIT 1") or not any(f'."{name}"' in columns for name in heavy)


def test_the_number_of_queries_does_not_grow_with_the_page(reader: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            reader.get(LIST)
        return len(captured)

    entry(recall=uuid4())
    few = queries()
    for _ in range(30):
        entry(recall=uuid4(), conversation=PAIR)
    assert queries() == few


def test_a_page_beyond_the_end_links_to_the_first_page(reader: Client) -> None:
    oldest, newest = entry().pk, entry().pk
    for query, end in (({"before": oldest}, "nothing older"), ({"after": newest}, "nothing newer")):
        page = reader.get(LIST, {**query, "other_actors": "mo"}).content.decode()
        assert f"There is {end}." in page
        assert "Nothing is here yet." not in page
        link = re.search(r'href="([^"]+)">To the first page<', page)
        assert link
        assert len(reader.get(LIST + unescape(link[1])).context["cl"].result_list) == 2


@pytest.mark.parametrize(
    ("who", "status"), [("moderator", 302), ("lead", 403), ("auditor", 200), ("administrator", 200)]
)
def test_only_auditors_and_administrators_read_the_log(
    client: Client, request: pytest.FixtureRequest, who: str, status: int
) -> None:
    shown = entry()
    client.force_login(request.getfixturevalue(who))
    for url in (LIST, reverse("admin:audit_auditentry_change", args=[shown.pk])):
        assert client.get(url).status_code == status
    assert client.get(reverse("admin:audit_auditentry_export")).status_code == status


def test_the_log_is_read_in_chinese(reader: Client, auditor: Any) -> None:
    auditor.language = "zh-hans"
    auditor.save()
    page = reader.get(LIST).content.decode()
    assert '<html lang="zh-hans"' in page


def test_the_list_shows_the_integrity_of_the_log(reader: Client) -> None:
    page = reader.get(LIST).content.decode()
    assert "No entry is sealed yet." in page
    assert "None yet." in page
    assert "not verified yet" in page
    entry()
    assert "wait for their seal" in reader.get(LIST).content.decode()
    Sealer().seal()
    checkpoint = checkpoints.take()
    call_command("verify_audit", stdout=io.StringIO())
    page = reader.get(LIST).content.decode()
    assert AuditSeal.objects.get().hash in page
    assert checkpoint.root in page
    assert '<span class="pill accepted">intact</span>' in page
    record(actor="x", action=Action.LOG_VERIFIED, detail={"problem": "seq 7: missing"})
    assert '<span class="pill refused">broken</span> seq 7: missing' in reader.get(LIST).content.decode()


def test_the_verifiers_messages_are_shown_in_the_readers_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "gettext", lambda message: f"<{message}>")
    problem = "seq 4 to 7: not the entries that the checkpoint of 9 covers"
    assert problems.translated(problem) == f"<{problem}>"
    assert problems.translated("seq 4: something new") == "seq 4: something new"
    # The code still contains each of them.
    source = "".join(map(inspect.getsource, (verifier, verification, checkpoints))).replace('" \n        "', "")
    source = re.sub(r'"\n *f?"', "", source)
    for message in problems.MESSAGES:
        for part in re.split(r"%\(\w\)s", message):
            assert part in source, message
