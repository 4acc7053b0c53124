"""`manage.py export_audit`: keys and their order, times, nulls, formats, ranges and files."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from moderation.audit.ledger import export
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditEntry, AuditSeal

from .entries import record

pytestmark = pytest.mark.django_db

KEYS = [
    *("seq", "at", "actor", "action", "app", "conversation", "recall", "batch", "attempt", "timestamps"),
    *("request", "http_status", "response_code", "response_content", "latency_ms", "detail"),
    *("prev_hash", "hash", "schema", "private"),
]
RECALL = UUID("00000000-0000-4000-8000-000000000001")


def run(*options: str) -> str:
    out = io.StringIO()
    call_command("export_audit", *options, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def as_json(*options: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*options).splitlines()]


def as_csv(*options: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run("--format", "csv", *options), newline="")))


def at(text: str, **fields: Any) -> AuditEntry:
    with time_machine.travel(datetime.fromisoformat(text), tick=False):
        return record(**{"actor": "mo", "action": Action.REQUESTED, **fields})


def answered(**fields: Any) -> AuditEntry:
    return at(
        "2026-01-02T03:04:05.123456+00:00",
        **{
            "action": Action.ANSWERED,
            "app": "default",
            "conversation": {"kind": "private", "user_a": "user-a", "user_b": "user-b"},
            "recall": RECALL,
            "batch": 0,
            "attempt": 1,
            "timestamps": [1767323045123, 1767323045124],
            "request": {"appkey": "BC-…cdef", "messages": [1767323045123, 1767323045124]},
            "http_status": 200,
            "response_code": 200,
            "response_content": "OK",
            "latency_ms": 87,
            "detail": {"note": "垃圾广告"},
            **fields,
        },
    )


def test_an_entry_has_exactly_the_keys_of_the_interface_in_their_order() -> None:
    entry = answered()
    (line,) = run().splitlines()
    assert list(json.loads(line)) == KEYS
    assert json.loads(line) == {
        "seq": 1,
        "at": "2026-01-02T03:04:05.123456Z",
        "actor": "mo",
        "action": "recall.answered",
        "app": "default",
        "conversation": {"kind": "private", "user_a": "user-a", "user_b": "user-b"},
        "recall": str(RECALL),
        "batch": 0,
        "attempt": 1,
        "timestamps": [1767323045123, 1767323045124],
        "request": {"appkey": "BC-…cdef", "messages": [1767323045123, 1767323045124]},
        "http_status": 200,
        "response_code": 200,
        "response_content": "OK",
        "latency_ms": 87,
        "detail": {"note": "垃圾广告"},
        "prev_hash": "0" * 64,
        "hash": AuditSeal.objects.get(entry=entry).hash,
        "schema": 2,
        "private": None,
    }


def test_a_field_that_does_not_apply_is_null() -> None:
    record(actor="mo", action=Action.REQUESTED)
    (entry,) = as_json()
    absent = {key for key in KEYS if entry[key] is None}
    assert absent == set(KEYS) - {"seq", "at", "actor", "action", "detail", "prev_hash", "hash", "schema"}
    assert entry["detail"] == {}


def test_a_group_is_named_by_its_id() -> None:
    answered(conversation={"kind": "group", "group_id": "group:1/2"})
    assert as_json()[0]["conversation"] == {"kind": "group", "group_id": "group:1/2"}


def test_a_whole_second_still_has_six_decimals() -> None:
    at("2026-01-02T03:04:05+08:00")
    assert as_json()[0]["at"] == "2026-01-01T19:04:05.000000Z"


def test_chinese_stays_readable() -> None:
    answered()
    assert "垃圾广告" in run()
    assert "垃圾广告" in run("--format", "csv")


def test_an_entry_is_one_line_whatever_its_content() -> None:
    nasty = "a\nb\r\nc\u2028d\u2029e\x85f"
    answered(response_content=nasty)
    text = run()
    assert len(text.splitlines()) == 1
    assert json.loads(text)["response_content"] == nasty


def test_entries_come_in_order_and_page_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 3)
    for _ in range(7):
        record(actor="mo", action=Action.REQUESTED)
    with CaptureQueriesContext(connection) as queries:
        exported = [entry["seq"] for entry in as_json()]
    assert exported == [1, 2, 3, 4, 5, 6, 7]
    selects = [query["sql"] for query in queries.captured_queries]
    # Three pages, all without COUNT or OFFSET.
    assert len([sql for sql in selects if '"audit_auditseal"."seq" <= ' in sql]) == 3
    assert not any("COUNT(" in sql.upper() or "OFFSET" in sql.upper() for sql in selects)


def test_only_a_page_of_entries_is_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 2)
    for _ in range(6):
        record(actor="mo", action=Action.REQUESTED)
    Sealer().seal()
    lines = export.jsonl(export.rows(AuditEntry.objects.all()))
    with CaptureQueriesContext(connection) as queries:
        next(lines)
    assert len(queries) == 2
    assert "LIMIT 2" in queries.captured_queries[1]["sql"]


@pytest.mark.parametrize("wanted", [[1], [30], [1, 2, 3, 4, 28, 29, 30], [15], []])
def test_a_rare_match_is_exported_wherever_it_is(monkeypatch: pytest.MonkeyPatch, wanted: list[int]) -> None:
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 2)
    for seq in range(1, 31):
        record(actor="rare" if seq in wanted else "mo", action=Action.REQUESTED)
    Sealer().seal()
    rare = AuditEntry.objects.filter(actor="rare")
    assert [entry["seq"] for entry in export.rows(rare)] == wanted
    assert [entry["seq"] for entry in export.rows(rare, 2, 29)] == [seq for seq in wanted if 2 < seq <= 29]


def test_csv_has_the_same_keys_and_nested_values_as_json() -> None:
    answered()
    (row,) = as_csv()
    assert list(row) == [*KEYS, "continues_in_next_row"]
    assert row["at"] == "2026-01-02T03:04:05.123456Z"
    assert json.loads(row["conversation"])["user_a"] == "user-a"
    assert json.loads(row["timestamps"]) == [1767323045123, 1767323045124]
    assert json.loads(row["detail"]) == {"note": "垃圾广告"}
    assert row["latency_ms"] == "87"
    assert row["seq"] == "1"
    assert row["prev_hash"] == "0" * 64


@pytest.mark.parametrize("begin", list("=+-@\t\r\n＝＋－＠"))
def test_no_csv_cell_begins_as_a_formula_does(begin: str) -> None:
    formula = begin + 'HYPERLINK("https://example.com")'
    answered(response_content=formula, actor=formula)
    (row,) = as_csv()
    assert row["response_content"] == row["actor"] == "'" + formula


@pytest.mark.parametrize("before", [" ", "   ", "\xa0", "\ufeff", "\u3000", "\u200b", "\x0b", " \ufeff\xa0"])
def test_a_formula_after_invisible_characters_is_escaped(before: str) -> None:
    answered(response_content=f"{before}=1+1", actor=f"{before}1")
    (row,) = as_csv()
    assert row["response_content"] == f"'{before}=1+1"
    assert row["actor"] == f"{before}1"


def test_a_formula_after_nul_is_escaped() -> None:
    # PostgreSQL cannot store NUL.
    assert export.cells("\0=1+1") == ['"\'\0=1+1"']


@pytest.mark.parametrize("separator", [";", "\t", "; ", ";\xa0", "\n", "\r\n"])
def test_no_formula_begins_where_a_spreadsheet_splits_at_something_else(separator: str) -> None:
    text = f"x{separator}=1+1;y"
    answered(response_content=text, detail={"note": "x;=1+1;y", "numbers": [1, -1]})
    raw = run("--format", "csv")
    (row,) = csv.DictReader(io.StringIO(raw, newline=""))
    split = len(separator.rstrip(" \xa0"))
    assert row["response_content"] == f"x{separator[:split]}'{separator[split:]}=1+1;y"
    assert json.loads(row["detail"]) == {"note": "x;'=1+1;y", "numbers": [1, -1]}
    for line in raw.split("\r\n"):
        assert not [part for part in line.replace("\n", ";").split(";") if part.startswith("=")]


def test_csv_quotes_text_and_leaves_null_empty() -> None:
    answered(actor='a "b", c', response_content="", attempt=None)
    line = run("--format", "csv").split("\r\n")[1]
    assert '"a ""b"", c"' in line
    assert ',0,,"[' in line
    assert ',200,200,"",87,' in line


def test_a_csv_cell_too_long_for_a_spreadsheet_goes_on_in_the_next_row() -> None:
    timestamps = list(range(1767323045000, 1767323050000))
    content = "好" * 40_000 + "💬" * 40_000
    answered(timestamps=timestamps, response_content=content)
    answered(response_content="short")
    *rows, last = as_csv()
    assert [row["seq"] for row in rows] == ["1"] * len(rows)
    assert [row["continues_in_next_row"] for row in rows] == ["true"] * (len(rows) - 1) + [""]
    for row in rows:
        assert all(len(value.encode("utf-16-le")) <= 2 * 32_767 for value in row.values())
    assert json.loads("".join(row["timestamps"] for row in rows)) == timestamps
    assert "".join(row["response_content"] for row in rows) == content
    assert [row["actor"] for row in rows[1:]] == [""] * (len(rows) - 1)
    assert (last["seq"], last["continues_in_next_row"]) == ("2", "")


def test_no_formula_begins_where_a_csv_cell_was_split() -> None:
    answered(response_content="x" * 32_766 + "=1+1")
    assert [row["response_content"][:5] for row in as_csv()] == ["xxxxx", "'=1+1"]


def test_a_csv_file_begins_with_the_mark_that_excel_needs_and_standard_output_does_not(tmp_path: Path) -> None:
    answered()
    err = io.StringIO()
    call_command("export_audit", "--format", "csv", "--output", str(tmp_path / "log.csv"), stderr=err)
    assert (tmp_path / "log.csv").read_bytes().startswith(b"\xef\xbb\xbfseq,at,")
    assert err.getvalue().strip().endswith(": 1.")
    assert run("--format", "csv").startswith("seq,at,")


def test_json_lines_keep_text_as_it_was() -> None:
    answered(response_content="=1+1")
    assert as_json()[0]["response_content"] == "=1+1"


def test_since_is_included_and_until_is_not() -> None:
    for text in ("2026-01-01T23:59:59+00:00", "2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00"):
        at(text)
    days = [entry["at"][:10] for entry in as_json("--since", "2026-01-02", "--until", "2026-01-03T00:00:00Z")]
    assert days == ["2026-01-02"]


def test_a_zone_is_honoured_and_a_naive_time_is_utc() -> None:
    at("2026-01-02T03:00:00+00:00")
    assert len(as_json("--since", "2026-01-02T11:00:00+08:00")) == 1
    until = ("--until", "2026-01-03")
    assert as_json("--since", "2026-01-02T11:00:01+08:00", *until) == []
    assert len(as_json("--since", "2026-01-02T03:00:00", *until)) == 1
    assert as_json("--until", "2026-01-02T03:00:00") == []


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-13-01", "1767323045123", "0001-01-01T00:00+14:00", "9999-12-31T23:59:59-14:00"],
)
@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_bad_time_is_named(option: str, text: str) -> None:
    with pytest.raises(CommandError, match=f"^{option}: “"):
        run(f"{option}={text}")


def test_since_after_until_is_refused() -> None:
    with pytest.raises(CommandError, match="--since must be before --until"):
        run("--since", "2026-01-03", "--until", "2026-01-02")


def test_a_file_is_written_whole_and_for_its_owner(tmp_path: Path) -> None:
    answered()
    target = tmp_path / "log.jsonl"
    target.write_text("old")
    out, err = io.StringIO(), io.StringIO()
    call_command("export_audit", "--output", str(target), stdout=out, stderr=err)
    assert json.loads(target.read_text(encoding="utf-8"))["detail"] == {"note": "垃圾广告"}
    assert out.getvalue() == ""
    assert err.getvalue().strip().endswith(": 1.")
    assert target.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [target]


def test_the_old_file_stays_when_the_export_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answered()
    target = tmp_path / "log.csv"
    target.write_text("old")
    Sealer().seal()
    monkeypatch.setattr(export, "as_dict", lambda *columns: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("--format", "csv", "--output", str(target))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--output: .*nowhere.*cannot be written"):
        run("--output", str(tmp_path / "nowhere" / "log.jsonl"))


def test_an_empty_log_is_an_empty_export() -> None:
    assert run() == ""
    # The second entry records the first export.
    assert run("--format", "csv", "--until", "2026-01-01") == ",".join([*KEYS, "continues_in_next_row"]) + "\r\n"


def test_times_are_utc_whatever_zone_is_active() -> None:
    at("2026-01-02T03:04:05+00:00")
    with timezone.override("Asia/Shanghai"):
        assert as_json()[0]["at"] == "2026-01-02T03:04:05.000000Z"


def test_an_export_is_recorded_and_holds_what_was_sealed_before_it() -> None:
    answered()
    assert [entry["action"] for entry in as_json("--since", "2026-01-01")] == ["recall.answered"]
    recorded = AuditEntry.objects.latest("pk")
    assert (recorded.actor, recorded.action) == ("(command line)", "audit.exported")
    filters = {"since": "2026-01-01T00:00:00+00:00"}
    assert recorded.detail == {"format": "jsonl", "entries_up_to": 1, "filters": filters}
    assert [entry["action"] for entry in as_json()] == ["recall.answered", "audit.exported"]
