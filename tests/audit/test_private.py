"""The private part of an entry: shown until it is erased, which leaves the log intact."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from moderation.audit import services
from moderation.audit.ledger import export, verification
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditEntriesNeverChange, AuditEntry, AuditPrivate
from moderation.audit.services import record_all

from .entries import entry, record
from .signed_logs import behind_the_triggers
from .test_append_only import refused_by_the_database
from .verifying import Run

pytestmark = pytest.mark.django_db

NOTE = {"note": "王伟 wrote “\x00 \ud83c 🎉”", "asked": [{"q": 1.50, "n": 7}]}


@pytest.fixture
def noted() -> AuditEntry:
    return record(actor="mo", action=Action.REQUESTED, detail={"reason": "spam"}, private=NOTE)


def erase(noted: AuditEntry) -> AuditEntry:
    Sealer().seal()
    erasure = record(actor="ada", action=Action.TEXT_ERASED, detail={"entries": [noted.seal.seq]})
    assert AuditPrivate.objects.filter(entry=noted).erase(erasure) == 1
    return erasure


def exported(tmp_path: Path) -> Path:
    call_command("export_audit", "--output", str(tmp_path / "e"), stderr=io.StringIO())
    return tmp_path / "e"


def test_the_entry_has_its_hash_and_not_its_text(noted: AuditEntry) -> None:
    kept = AuditEntry.objects.get(pk=noted.pk)
    assert kept.detail == {"reason": "spam", "private": noted.detail["private"]}
    assert len(kept.detail["private"]) == len(kept.private.salt) == 64
    assert json.loads(kept.private.content) == NOTE


def test_the_same_text_has_another_hash_each_time(noted: AuditEntry) -> None:
    assert record(actor="mo", action=Action.REQUESTED, private=NOTE).detail["private"] != noted.detail["private"]


def test_entries_are_written_in_one_statement_and_private_parts_in_another() -> None:
    def statements(private: dict[str, Any] | None) -> int:
        entries = [entry(actor="mo", action=Action.REQUESTED, private=private) for _ in range(20)]
        with CaptureQueriesContext(connection) as made:
            record_all(entries)
        return sum("INSERT" in query["sql"] for query in made)

    assert (statements(None), statements(NOTE)) == (1, 2)
    with CaptureQueriesContext(connection) as made:
        record(actor="mo", action=Action.REQUESTED)
    assert not any("auditprivate" in query["sql"] for query in made)


def test_an_entry_without_its_private_part_is_not_written(noted: AuditEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.AuditPrivate.objects, "bulk_create", lambda _parts: 1 / 0)
    # The transaction of the step that the entry is about.
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record(actor="mo", action=Action.REQUESTED, private=NOTE)
    assert AuditEntry.objects.count() == 1


def test_it_is_exported_beside_what_the_hash_covers(noted: AuditEntry, tmp_path: Path, run: Run) -> None:
    record(actor="mo", action=Action.REQUESTED)
    path = exported(tmp_path)
    first, second = [json.loads(line) for line in path.read_text().splitlines()]
    assert first["private"] == {"salt": noted.private.salt, "content": NOTE}
    assert second["private"] is None
    assert run(path)[0] == 0
    call_command("export_audit", "--format", "csv", stdout=(out := io.StringIO()), stderr=io.StringIO())
    rows = list(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert rows[0][-2] == "private"
    assert json.loads(rows[1][-2])["content"] == NOTE


def test_the_log_is_intact_after_an_erasure_and_records_it(noted: AuditEntry, tmp_path: Path, run: Run) -> None:
    Sealer().seal()
    before = verification.verify_log([])
    erasure = erase(noted)
    after = verification.verify_log([])
    assert (before["problem"], after["problem"], after["entries"]) == (None, None, 2)
    path = exported(tmp_path)
    status, said = run(path)
    assert (status, said.split(", ")[-1]) == (0, f"head {AuditEntry.objects.get(pk=erasure.pk).seal.hash}.")
    assert "王伟" not in path.read_text()
    assert json.loads(path.read_text().splitlines()[0])["private"] is None
    kept = AuditPrivate.objects.get()
    assert (kept.salt, kept.content, kept.erasure) == ("", "", erasure)


def test_the_entrys_page_shows_it_or_who_erased_it(client: Client, auditor: Any, noted: AuditEntry) -> None:
    client.force_login(auditor)
    address = reverse("admin:audit_auditentry_change", args=[noted.pk])
    assert "王伟" in client.get(address).content.decode()
    erasure = erase(noted)
    page = client.get(address).content.decode()
    assert "王伟" not in page
    assert "Erased on request." in page
    assert reverse("admin:audit_auditentry_change", args=[erasure.pk]) in page


def test_sql_can_only_erase_a_private_part_once(noted: AuditEntry) -> None:
    other = record(actor="mo", action=Action.REQUESTED)
    old = record(actor="ada", action=Action.TEXT_ERASED, detail={"entries": [1]})
    Sealer().seal()
    assert noted.seal.seq == 1
    table = "audit_auditprivate"
    for change in (
        "content = '{}'",
        "salt = 'x'",
        "salt = '', content = ''",
        f"salt = '', content = 'x', erasure_id = {other.pk}",
        f"erasure_id = {other.pk}",
        f"salt = '', content = '', erasure_id = {other.pk}, entry_id = {other.pk}",
    ):
        refused_by_the_database(f"UPDATE {table} SET {change}")
    refused_by_the_database(f"DELETE FROM {table}")
    if connection.vendor == "postgresql":
        refused_by_the_database(f"SET CONSTRAINTS ALL IMMEDIATE; TRUNCATE {table}")
    else:
        values = f"(entry_id, salt, content) VALUES ({noted.pk}, 'x', 'y')"
        refused_by_the_database(f"INSERT OR REPLACE INTO {table} {values}")
        refused_by_the_database(
            f"INSERT OR REPLACE INTO {table} (rowid, entry_id, salt, content) "
            f"SELECT rowid, {other.pk}, 'x', 'y' FROM {table}"
        )
    for telling in (
        # Entries that must not erase it: of another kind, naming other entries or none, or an old one.
        noted,
        record(actor="ada", action=Action.SEARCHED, detail={"entries": [1]}),
        record(actor="ada", action=Action.TEXT_ERASED, detail={"entries": [2, "1", None]}),
        record(actor="ada", action=Action.TEXT_ERASED),
        old,
    ):
        refused_by_the_database(f"UPDATE {table} SET salt = '', content = '', erasure_id = {telling.pk}")
    erase(noted)
    refused_by_the_database(f"UPDATE {table} SET salt = 'x', content = 'y', erasure_id = NULL")
    refused_by_the_database(f"UPDATE {table} SET salt = '', content = '', erasure_id = {noted.pk}")
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} (entry_id, salt, content) VALUES ({noted.pk}, 'x', 'y')")
    assert AuditPrivate.objects.filter(entry=noted).erase(other) == 0


def test_a_temporary_table_does_not_stand_in_for_the_log(noted: AuditEntry) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("a trigger of SQLite sees the tables of its own database alone")
    Sealer().seal()
    with connection.cursor() as cursor:
        for table in ("audit_auditentry", "audit_auditseal"):
            cursor.execute(f"CREATE TEMPORARY TABLE {table} (LIKE public.{table} INCLUDING DEFAULTS) ON COMMIT DROP")
        cursor.execute(
            "INSERT INTO pg_temp.audit_auditentry (id, at, actor, action, app, kind, user_a, user_b, group_id, detail) "
            f"VALUES ({noted.pk}, now(), '', 'text.erased', '', '', '', '', '', '{{\"entries\": [1]}}')"
        )
        cursor.execute(
            f"INSERT INTO pg_temp.audit_auditseal (seq, entry_id, prev_hash, hash) VALUES (1, {noted.pk + 1}, '', '')"
        )
        cursor.execute(
            f"INSERT INTO pg_temp.audit_auditseal (seq, entry_id, prev_hash, hash) VALUES (1, {noted.pk}, '', '')"
        )
        with pytest.raises(DatabaseError, match="never change"), transaction.atomic():
            cursor.execute(f"UPDATE audit_auditprivate SET salt = '', content = '', erasure_id = {noted.pk}")


def test_the_queryset_refuses_every_change_except_an_erasure(noted: AuditEntry) -> None:
    kept = AuditPrivate.objects.get()
    for change in (
        kept.save,
        kept.delete,
        lambda: AuditPrivate.objects.update(content="x"),
        AuditPrivate.objects.all().delete,
    ):
        with pytest.raises(AuditEntriesNeverChange):
            change()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_auditprivate",
        "UPDATE audit_auditprivate SET salt = '', content = '', erasure_id = entry_id",
        "UPDATE audit_auditprivate SET salt = '', content = '', erasure_id = {erasure}",
    ],
)
def test_an_erasure_without_an_entry_is_detected(noted: AuditEntry, statement: str) -> None:
    erasure = record(actor="ada", action=Action.TEXT_ERASED, detail={"entries": [7]})
    Sealer().seal()
    assert verification.verify_log([])["problem"] is None
    with behind_the_triggers() as execute:
        execute(statement.format(erasure=erasure.pk))
    problem = verification.verify_log([])["problem"]
    assert problem == "seq 1: its private part is gone, and no entry says that it was erased"


def test_an_erasure_during_verification_raises_no_alarm(noted: AuditEntry) -> None:
    erasures = []

    def erase_it(seq: int, last: int) -> None:
        if not erasures:
            assert (seq, last) == (1, 501)
            erasures.append(erase(AuditEntry.objects.get(seal__seq=501)))

    record_all([entry(actor="mo", action=Action.REQUESTED, private=NOTE) for _ in range(500)])
    findings = verification.verify_log([], erase_it)
    assert (findings["problem"], findings["entries"], len(erasures)) == (None, 501, 1)


def test_a_private_part_forged_without_triggers_is_detected(noted: AuditEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    Sealer().seal()
    for content in (json.dumps({**NOTE, "note": "forged"}), "no JSON"):
        forged = {"salt": noted.private.salt, "content": export.private_content(content)}
        row = next(export.rows(AuditEntry.objects.all()))
        monkeypatch.setattr(export, "rows", lambda *_, forged=forged, row=row, **__: [{**row, "private": forged}])
        assert verification.verify_log([])["problem"].startswith("seq 1: its private part is not what")
        monkeypatch.undo()
