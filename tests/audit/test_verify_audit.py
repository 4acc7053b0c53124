"""`manage.py verify_audit` and `audit_proof`, on both engines."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from moderation.audit import verifier
from moderation.audit.ledger import checkpoints
from moderation.audit.models import Action, AuditEntry, AuditSeal

from .entries import record
from .signed_logs import behind_the_triggers, command, write

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("published")]


def test_an_intact_log_is_verified_and_that_is_recorded(tmp_path: Path) -> None:
    write(5)
    command("audit_checkpoint", "--output", tmp_path / "c")
    write(2)
    status, out, _ = command("verify_audit", "--checkpoint", tmp_path / "c")
    head = AuditSeal.objects.get(seq=7).hash
    assert (status, out) == (0, f"Intact: all of seq 7, head {head}.\n")
    recorded = AuditEntry.objects.latest("pk")
    assert (recorded.actor, recorded.action) == ("(command line)", "audit.verified")
    assert recorded.detail == {"entries": 7, "head": head, "problem": None, "checkpoints": 1}


def test_an_entry_that_is_unreadable_before_its_seal_is_reported() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL takes no such value")
    write(2)
    record(actor="mo", action=Action.ANSWERED)
    with behind_the_triggers() as execute:
        execute("UPDATE audit_auditentry SET at = 'yesterday' WHERE id = (SELECT max(id) FROM audit_auditentry)")
    status, _, said = command("verify_audit")
    assert (status, said) == (1, "Broken: an entry that waits for its seal cannot be read.")


def test_an_entry_that_is_not_sealed_yet_is_verified_too() -> None:
    record(actor="mo", action=Action.ANSWERED)
    assert command("verify_audit")[1].startswith("Intact: all of seq 1,")


TAMPERING = {
    "an entry changed": ("UPDATE audit_auditentry SET actor = 'x' WHERE id = {4}", "seq 4: its content"),
    "its time changed": ("UPDATE audit_auditentry SET at = '2026-01-01 00:00:00+00:00' WHERE id = {4}", "seq 4: its"),
    "another kind of value": ("UPDATE audit_auditentry SET detail = '[1]' WHERE id = {4}", "seq 4: its content"),
    "a hash changed": ("UPDATE audit_auditseal SET hash = 'abc' WHERE seq = 4", "seq 4: its content"),
    "a link changed": ("UPDATE audit_auditseal SET prev_hash = 'abc' WHERE seq = 4", "seq 4: its content"),
    "renumbered": ("UPDATE audit_auditseal SET seq = 9 WHERE seq = 4", "seq 4: missing; seq 5 comes"),
    "a seal removed": ("DELETE FROM audit_auditseal WHERE seq = 4", "seq 4: missing; seq 5 comes"),
    "an entry removed": (
        "DELETE FROM audit_auditseal WHERE seq = 4; DELETE FROM audit_auditentry WHERE id = {4}",
        "seq 4: missing; seq 5 comes",
    ),
    "the tail removed": (
        "DELETE FROM audit_auditseal WHERE seq >= 4; DELETE FROM audit_auditentry WHERE id >= {4}",
        "seq 4: missing; a checkpoint covers 6 entries",
    ),
    "two swapped": (
        "UPDATE audit_auditseal SET seq = 99 WHERE seq = 4; UPDATE audit_auditseal SET seq = 4 WHERE seq = 5;"
        "UPDATE audit_auditseal SET seq = 5 WHERE seq = 99",
        "seq 4: its content",
    ),
}


# SQLite accepts any value in any column.
TAMPERING_WITH_SQLITE = {
    f"{column} set to {value}": (f"UPDATE audit_auditentry SET {column} = {value} WHERE id = {{4}}", "seq 4: ")
    for column, value in (
        *(("at", "'yesterday'"), ("at", "7"), ("at", "x'00'"), ("actor", "x'00ff'"), ("actor", "7")),
        *(("recall", "'zz'"), ("recall", "x'00'"), ("batch", "'one'"), ("http_status", "1.5")),
        *(("timestamps", "'[1e999999999999999999999]'"), ("latency_ms", "9e999")),
    )
}
if connection.vendor == "sqlite":
    TAMPERING |= TAMPERING_WITH_SQLITE


@pytest.mark.parametrize("name", TAMPERING)
def test_a_change_by_the_owner_of_the_tables_is_detected(name: str, tmp_path: Path) -> None:
    statements, expected = TAMPERING[name]
    write(6)
    command("audit_checkpoint", "--output", tmp_path / "c")
    ids = [0, *AuditSeal.objects.order_by("seq").values_list("entry_id", flat=True)]
    with behind_the_triggers() as execute:
        for statement in statements.split(";"):
            execute(statement.format(*ids))
        execute("DELETE FROM audit_auditcheckpoint")
    status, out, said = command("verify_audit", "--checkpoint", tmp_path / "c")
    assert (status, out, said.startswith(f"Broken: {expected}")) == (1, "", True), said
    assert AuditEntry.objects.latest("pk").detail["problem"] in said


def test_a_checkpoint_reveals_a_chain_rebuilt_by_the_owner(tmp_path: Path) -> None:
    write(6)
    command("audit_checkpoint", "--output", tmp_path / "c")
    with behind_the_triggers() as execute:
        execute("DELETE FROM audit_auditseal")
        execute("DELETE FROM audit_auditcheckpoint")
        execute("UPDATE audit_auditentry SET actor = 'x' WHERE id = (SELECT max(id) FROM audit_auditentry)")
    assert command("verify_audit")[0] == 0
    status, _, said = command("verify_audit", "--checkpoint", tmp_path / "c")
    assert (status, said) == (1, "Broken: seq 1 to 6: not the entries that the checkpoint of 6 covers.")


def test_a_checkpoint_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(1)
    assert command("verify_audit", "--checkpoint", tmp_path / "nowhere")[0] == 2
    (tmp_path / "c").write_text("x")
    status, _, said = command("verify_audit", "--checkpoint", tmp_path / "c")
    assert (status, said.startswith("Cannot be read: not a checkpoint")) == (2, True)


def test_a_checkpoint_with_a_foreign_signature_is_refused_unless_its_key_is_given(
    tmp_path: Path, settings: Any
) -> None:
    write(3)
    command("audit_checkpoint", "--output", tmp_path / "c")
    (tmp_path / "k").write_text(base64.b64encode(checkpoints.public_key()).decode())
    settings.AUDIT_SIGNING_KEY = b"k" * 32
    settings.AUDIT_CHECKPOINT_FILE = ""
    settings.AUDIT_FORMER_PUBLIC_KEYS = [base64.b64decode((tmp_path / "k").read_text())]
    entries = AuditEntry.objects.count()
    status, _, said = command("verify_audit", "--checkpoint", tmp_path / "c")
    assert (status, said.split(". ")) == (
        *(1, ["Broken: the checkpoint is not signed with this public key", "The log was not looked at."]),
    )
    # A wrong file is not recorded, as it says nothing about the log.
    assert AuditEntry.objects.count() == entries
    assert command("verify_audit", "--checkpoint", tmp_path / "c", "--public-key", tmp_path / "k")[0] == 0


def test_the_proof_of_an_entry_needs_no_other_entry(tmp_path: Path) -> None:
    write(6)
    assert command("audit_proof", "4", "--output", tmp_path / "p")[0] == 0
    (line,) = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    entry = verifier.load(line)
    note = verifier.check_proof(entry, (tmp_path / "p").read_text(encoding="utf-8"))
    assert (entry["seq"], note.size) == (4, 6)
    note.check_signature(checkpoints.public_key())
    assert command("audit_proof", "99", "--output", tmp_path / "p")[0] == 2
