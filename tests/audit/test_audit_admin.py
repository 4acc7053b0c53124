"""The audit log in Django admin: columns, filters by several values, pages by key, one entry, the export."""

from __future__ import annotations

import csv
import inspect
import io
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from moderation.audit import timeline, verifier
from moderation.audit.admin import AuditEntryAdmin
from moderation.audit.ledger import checkpoints, problems, verification
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditEntry, AuditSeal
from moderation.audit.request_context import COMMAND_LINE, NOBODY, WORKER

from .entries import record

pytestmark = pytest.mark.django_db

LIST = "/admin/audit/auditentry/"
GROUP = {"kind": "group", "group_id": "group-1"}
PAIR = {"kind": "private", "user_a": "user-a", "user_b": "user-b"}


@pytest.fixture
def reader(client: Client, auditor: Any) -> Client:
    auditor.timezone = "Asia/Shanghai"
    auditor.save()
    client.force_login(auditor)
    return client


def entry(**fields: Any) -> AuditEntry:
    return record(**{"actor": "mo", "action": Action.ANSWERED, **fields})


def listed(client: Client, **query: Any) -> list[int]:
    """The numbers that the list shows, in its order."""
    return [each.pk for each in client.get(LIST, query).context["cl"].result_list]


def test_the_list_shows_what_a_reader_looks_for(reader: Client) -> None:
    recall = uuid4()
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
            # A day's entries are counted up to a thousand.
            assert "COUNT(" not in sql or f"LIMIT {timeline.MAX_COUNTED + 1})" in sql, sql
            columns = sql.partition(" FROM ")[0]
            heavy = ("request", "detail", "response_content")
            assert sql.endswith("LIMIT 1") or not any(f'."{name}"' in columns for name in heavy)


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
    """Whether the database sorts what this finds."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        return "TEMP B-TREE" in str(cursor.fetchall())


@only_sqlite
def test_a_sort_is_detected() -> None:
    assert sorts("SELECT id FROM audit_auditentry ORDER BY latency_ms")
    assert sorts("SELECT id FROM audit_auditentry WHERE actor = 'mo' ORDER BY id DESC LIMIT 101")


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


@pytest.fixture
def log(make_user: Callable[..., Any], application: Any) -> dict[str, int]:
    """Entries that differ, by a name for each."""
    from moderation.applications.models import Application

    Application.objects.bulk_create([Application(slug="other", name="Other")])
    make_user("mo", "moderator")
    make_user("lea", "lead")
    recall = UUID("00000000-0000-4000-8000-000000000001")
    made = {
        "requested": {"action": Action.REQUESTED, "app": "default", "conversation": GROUP, "recall": recall},
        "accepted": {"response_code": 200, "app": "default", "conversation": GROUP, "recall": recall},
        "refused": {"response_code": 401, "app": "default", "conversation": PAIR, "actor": "lea"},
        "strange": {"response_code": -7, "app": "other", "conversation": {**PAIR, "user_b": "user-c"}},
        "unanswered": {"action": Action.UNANSWERED, "app": "other", "actor": "gone", "conversation": GROUP},
    }
    numbers = {}
    for day, (name, fields) in enumerate(made.items(), start=1):
        with time_machine.travel(datetime.fromisoformat(f"2026-01-0{day}T00:00:00+08:00"), tick=False):
            numbers[name] = entry(**fields).pk
    return numbers


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
        # In the reader's zone, which is ahead of UTC.
        {"since": "0001-01-01T00:00:00"},
        {"since": "2026-01-03T00:00", "until": "2026-01-02T00:00"},
        {"action": ["recall.forgotten"]},
        {"conversation": "\n".join(["group-1"] * 51)},
    ],
)
def test_a_filter_that_cannot_be_understood_lists_nothing_and_says_so(
    reader: Client, log: dict[str, int], query: dict[str, Any]
) -> None:
    response = reader.get(LIST, query)
    assert response.context["cl"].result_list == []
    assert "a filter cannot be understood" in response.content.decode()
    assert 'class="errorlist' in response.content.decode()


def test_filters_are_one_get_form_that_works_without_script(reader: Client, log: dict[str, int]) -> None:
    page = reader.get(LIST, {"response_code": ["200", "none"], "conversation": "group-1"}).content.decode()
    assert page.count('<form method="get"') == 1
    checked = re.findall(r'name="response_code" value="([^"]+)"[^>]*checked', page)
    assert checked == ["200", "none"]
    assert ">\ngroup-1</textarea>" in page
    assert "<script>" not in page
    assert " style=" not in page


def test_an_unknown_parameter_is_ignored(reader: Client, log: dict[str, int]) -> None:
    assert len(listed(reader, actor__startswith="m", o="1", p="2", q="x", e="1", all="")) == len(log)


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
    assert "Call 2 (batch 1 in the export)" in page
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
        return part, [int(number) for number in re.findall(r"call (\d+)<", part)]

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
    # Numbers of a list would begin at 1, wherever the recall is shown from.
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
    # From elsewhere there is no list to go back to.
    page = reader.get(address.partition("?")[0]).content.decode()
    assert re.search(rf'href="{LIST}">\s*Audit log<', page)


def test_a_page_beyond_the_end_says_so_and_leads_back(reader: Client) -> None:
    oldest, newest = entry().pk, entry().pk
    for query, end in (({"before": oldest}, "nothing older"), ({"after": newest}, "nothing newer")):
        page = reader.get(LIST, {**query, "other_actors": "mo"}).content.decode()
        assert f"There is {end}." in page
        assert "Nothing is here yet." not in page
        link = re.search(r'href="([^"]+)">To the first page<', page)
        assert link
        assert len(reader.get(LIST + unescape(link[1])).context["cl"].result_list) == 2


def test_a_head_request_for_an_export_records_nothing(reader: Client) -> None:
    entry()
    address = reverse("admin:audit_auditentry_export")
    answer = reader.head(f"{address}?format=csv")
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (200, b"", "text/csv; charset=utf-8")
    assert reader.head(f"{address}?format=xlsx").status_code == 302
    assert AuditEntry.objects.count() == 1
    assert not AuditSeal.objects.exists()


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


def exported(client: Client, **query: Any) -> Any:
    return client.get(reverse("admin:audit_auditentry_export"), query)


def test_the_export_honours_the_filters(reader: Client, log: dict[str, int]) -> None:
    response = exported(reader, format="jsonl", response_code=["200", "401"], before="1")
    assert response.streaming
    assert re.search(r'filename="audit-log-\d{8}T\d{6}Z\.jsonl"', response["Content-Disposition"])
    lines = b"".join(response).decode().splitlines()
    wanted = [log["accepted"], log["refused"]]
    assert [json.loads(line)["seq"] for line in lines] == [AuditEntry.objects.get(pk=pk).seal.seq for pk in wanted]
    recorded = AuditEntry.objects.latest("pk")
    assert (recorded.actor, recorded.action) == ("audrey", "audit.exported")
    assert recorded.detail.pop("from")["address"] == "127.0.0.1"
    assert recorded.detail == {"format": "jsonl", "entries_up_to": 5, "filters": {"response_code": ["200", "401"]}}


def test_the_export_as_csv_opens_in_a_spreadsheet(reader: Client) -> None:
    entry(response_content="=1+1", detail={"note": "垃圾"})
    body = b"".join(exported(reader, format="csv"))
    assert body.startswith(b"\xef\xbb\xbf")
    (row,) = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""))
    assert row["response_content"] == "'=1+1"
    assert "垃圾" in row["detail"]


def test_an_invalid_export_redirects_to_the_list(reader: Client) -> None:
    assert exported(reader, format="jsonl", other_codes="x").url == f"{LIST}?format=jsonl&other_codes=x"
    assert exported(reader, format="xlsx").url == f"{LIST}?format=xlsx"


def test_the_list_links_to_the_export_with_its_filters(reader: Client, log: dict[str, int]) -> None:
    page = reader.get(LIST, {"response_code": ["200", "401"], "before": log["unanswered"]}).content.decode()
    link = re.search(r'href="([^"]*/export/\?format=csv[^"]*)"', page)
    assert link
    rows = b"".join(reader.get(link[1].replace("&amp;", "&"))).decode("utf-8-sig")
    assert len(list(csv.DictReader(io.StringIO(rows, newline="")))) == 2


def test_the_log_is_read_in_chinese(reader: Client, auditor: Any) -> None:
    auditor.language = "zh-hans"
    auditor.save()
    page = reader.get(LIST).content.decode()
    assert '<html lang="zh-hans"' in page


def test_the_list_shows_the_integrity_of_the_log(reader: Client) -> None:
    page = reader.get(LIST).content.decode()
    assert "No entry is sealed yet." in page
    assert page.count("None yet.") == 2
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
    assert "<title>Entry 2: call answered" in page
    assert re.findall(r'class="field-seq">(?:<a [^>]*>)?([^<]+)<', reader.get(LIST).content.decode()) == ["2", "1"]


def test_a_row_of_days_leads_to_each_day_of_the_readers_zone(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "DAYS", 2)
    monkeypatch.setattr(timeline, "MAX_COUNTED", 1)
    written = []
    # 16:00 UTC is the next day's midnight in Shanghai.
    for at in ("2026-01-01T15:59:59", "2026-01-01T16:00:00", "2026-01-02T15:59:59", "2026-03-01T00:00:00"):
        with time_machine.travel(datetime.fromisoformat(f"{at}+00:00"), tick=False):
            written.append(entry().pk)
    answer = reader.get(LIST, {"other_actors": "mo", "before": written[3]})
    row = answer.context["timeline"]
    assert [(str(day.day), day.number, day.is_capped) for day in (each["day"] for each in row["days"])] == [
        ("2026-03-01", 1, False),
        ("2026-01-02", 2, True),
    ]
    assert "over 1" in answer.content.decode()
    narrowed = reader.get(LIST + row["days"][1]["address"])
    assert [each.pk for each in narrowed.context["cl"].result_list] == [written[2], written[1]]
    assert narrowed.context["timeline"]["days"][1]["is_this"]
    assert 'aria-current="date"' in narrowed.content.decode()
    # As a browser sends them back.
    filtered = reader.get(LIST, {"since": "2026-01-02T00:00", "until": "2026-01-03T00:00", "days_before": "2026-03-01"})
    assert [each["is_this"] for each in filtered.context["timeline"]["days"]] == [True, False]
    assert '<input type="hidden" name="days_before" value="2026-01-03">' in filtered.content.decode()
    assert 'type="hidden" name="days_before"' not in answer.content.decode()
    earlier = reader.get(LIST + row["earlier"]).context["timeline"]
    assert [str(each["day"].day) for each in earlier["days"]] == ["2026-01-01"]
    later = reader.get(LIST + earlier["later"]).context["timeline"]
    assert [str(each["day"].day) for each in later["days"]] == ["2026-03-01", "2026-01-02"]


@pytest.mark.parametrize(
    ("zone", "day", "begins", "ends"),
    [
        # Clocks go from 00:00 to 01:00.
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00", "2026-04-24T21:00"),
        ("Africa/Cairo", "2026-04-23", "2026-04-22T22:00", "2026-04-23T22:00"),
        # From 01:00 back to 00:00.
        ("America/Havana", "2026-11-01", "2026-11-01T04:00", "2026-11-02T05:00"),
        ("America/Havana", "2026-10-31", "2026-10-31T04:00", "2026-11-01T04:00"),
        # 30 December was left out.
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00", "2011-12-30T10:00"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00", "2011-12-31T10:00"),
    ],
)
def test_a_day_with_a_missing_or_repeated_midnight_is_linked(
    reader: Client, auditor: Any, zone: str, day: str, begins: str, ends: str
) -> None:
    auditor.timezone = zone
    auditor.save()
    written = []
    for at in (begins, ends):
        for moment in (datetime.fromisoformat(f"{at}:00Z") - timedelta(microseconds=1), f"{at}Z"):
            with time_machine.travel(moment, tick=False):
                written.append(entry().pk)
    (shown,) = (each for each in reader.get(LIST).context["timeline"]["days"] if str(each["day"].day) == day)
    assert shown["day"].number == 2
    assert listed(reader, **shown["day"].span) == written[2:0:-1]


@pytest.mark.parametrize("day", ["nonsense", "0001-01-01", "9999-12-31"])
def test_an_invalid_day_leaves_the_list_unchanged(reader: Client, day: str) -> None:
    entry()
    for name in ("days_before", "days_after"):
        assert reader.get(LIST, {name: day}).status_code == 200


def test_a_time_range_is_paged_in_order_of_time(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AuditEntryAdmin, "list_per_page", 1)
    written = []
    # Ids are not in the order of time: whoever took the first may have written it last.
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
    # A page that begins outside of the span stays within it.
    assert listed(reader, until="2026-01-02T00:00:00", before=written[0]) == [written[1]]
    assert listed(reader, since="2026-01-03T00:00:00", after=written[1]) == [written[0]]


def test_an_entry_links_to_the_previous_and_the_next(reader: Client) -> None:
    first, second, third = (entry().pk for _number in range(3))
    Sealer().seal()
    page = reader.get(f"{LIST}{second}/change/").content.decode()
    assert re.search(rf'href="{LIST}{first}/change/"\s+rel="prev"', page)
    assert re.search(rf'href="{LIST}{third}/change/"\s+rel="next"', page)
    assert 'rel="prev"' not in reader.get(f"{LIST}{first}/change/").content.decode()


def test_the_verifiers_messages_are_shown_in_the_readers_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "gettext", lambda message: f"<{message}>")
    problem = "seq 4 to 7: not the entries that the checkpoint of 9 covers"
    assert problems.translated(problem) == f"<{problem}>"
    assert problems.translated("seq 4: something new") == "seq 4: something new"
    # Each of them is still written.
    source = "".join(map(inspect.getsource, (verifier, verification, checkpoints))).replace('" \n        "', "")
    source = re.sub(r'"\n *f?"', "", source)
    for message in problems.MESSAGES:
        for part in re.split(r"%\(\w\)s", message):
            assert part in source, message
