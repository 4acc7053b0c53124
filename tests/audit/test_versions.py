"""Entries of every version of the format can be verified, exported and shown."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from moderation.audit import verifier
from moderation.audit.ledger import export, triggers
from moderation.audit.ledger.chain import Sealer
from moderation.audit.ledger.verification import verify_log
from moderation.audit.models import Action, AuditEntry

from .entries import record

EXPORTS = Path(__file__).parent / "exports"
# An export of the time before entries had a version.
FIRST, CHECKPOINT, KEY = (EXPORTS / f"version_1.{name}" for name in ("jsonl", "checkpoint", "key"))


def verified(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["verifier.py", *map(str, arguments)])
    return verifier.main()


def exported() -> list[dict[str, Any]]:
    return [json.loads(line) for line in export.jsonl(export.rows(AuditEntry.objects.all()))]


def test_an_export_of_the_first_version_is_intact(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verified(monkeypatch, FIRST, "--checkpoint", CHECKPOINT, "--public-key", KEY) == 0
    assert capsys.readouterr().out.startswith("Intact: all of seq 14, ")


def test_a_changed_entry_of_the_first_version_is_detected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = FIRST.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines):
        entry = json.loads(line)
        entry["detail"]["forged"] = True
        forged = [*lines[:number], json.dumps(entry) + "\n", *lines[number + 1 :]]
        (tmp_path / "e").write_text("".join(forged), encoding="utf-8")
        assert verified(monkeypatch, tmp_path / "e") == 1
        assert f"seq {number + 1}: its content is not what" in capsys.readouterr().err


@pytest.mark.parametrize(("schema", "status"), [(3, 2), (0, 2), (-1, 2), (True, 2), ("2", 2), (None, 2), (2, 1)])
def test_an_unknown_version_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, schema: Any, status: int
) -> None:
    shutil.copy(FIRST, tmp_path / "e")
    first, _, rest = FIRST.read_text(encoding="utf-8").partition("\n")
    (tmp_path / "e").write_text(json.dumps({**json.loads(first), "schema": schema}) + "\n" + rest, encoding="utf-8")
    assert verified(monkeypatch, tmp_path / "e") == status
    said = capsys.readouterr().err
    assert ("schema" in said or "version" in said) == (status == 2), said


@pytest.mark.django_db
def test_entries_of_both_versions_make_one_chain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number in range(6):
        record(actor="mo", action=Action.SIGNED_IN, detail={"number": number}, schema=1 + number % 2)
    Sealer().seal()
    entries = exported()
    assert ["schema" in entry for entry in entries] == [False, True] * 3
    assert verify_log([])["problem"] is None
    (tmp_path / "e").write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    assert verified(monkeypatch, tmp_path / "e") == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
def test_a_version_changed_without_triggers_is_detected(before: int, after: int) -> None:
    pk = record(actor="mo", action=Action.SIGNED_IN, schema=before).pk
    Sealer().seal()
    with connection.schema_editor() as editor:
        triggers.remove(None, editor)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_auditentry SET schema = %s WHERE id = %s", [after, pk])
    with connection.schema_editor() as editor:
        triggers.install(None, editor)
    assert verify_log([])["problem"] == "seq 1: its content is not what its hash was made of"
