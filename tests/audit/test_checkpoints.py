"""Checkpoints: which logs are signed and which are not, on both engines."""

from __future__ import annotations

import base64
import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.utils import timezone

from moderation.audit import verifier
from moderation.audit.ledger import checkpoints, triggers
from moderation.audit.models import AuditCheckpoint, AuditSeal

from .logs import root
from .signed_logs import behind_the_triggers, command, write

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("published")]


def test_a_checkpoint_covers_what_is_sealed_and_is_signed_with_our_key() -> None:
    write(7)
    note = verifier.Checkpoint.read(checkpoints.take().note)
    leaves = [bytes.fromhex(seal.hash) for seal in AuditSeal.objects.order_by("seq")]
    assert (note.size, note.root) == (7, root(leaves))
    assert note.origin == f"moderation-console/{leaves[0].hex()[:16]}"
    note.check_signature(checkpoints.public_key())
    with pytest.raises(verifier.BrokenError):
        note.check_signature(bytes(32))


def test_each_checkpoint_goes_on_from_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "HASHES_AT_ONCE", 2)
    for more in (1, 4, 3, 8, 5):
        write(more)
        row = checkpoints.take()
        leaves = [bytes.fromhex(hash_) for hash_ in AuditSeal.objects.order_by("seq").values_list("hash", flat=True)]
        assert (row.size, row.root) == (len(leaves), root(leaves).hex())
    assert AuditCheckpoint.objects.count() == 5


def test_a_log_that_has_not_grown_is_not_signed_again() -> None:
    write(3)
    assert checkpoints.take() == checkpoints.take()
    assert AuditCheckpoint.objects.count() == 1


def test_an_empty_log_is_not_signed() -> None:
    with pytest.raises(checkpoints.NothingToSign):
        checkpoints.take()
    assert command("audit_checkpoint")[0] == 2
    assert not checkpoints.is_due()


def test_the_command_prints_the_checkpoint_and_the_key(tmp_path: Path) -> None:
    write(3)
    status, out, err = command("audit_checkpoint")
    note = verifier.Checkpoint.read(out)
    assert (status, note.size) == (0, 3)
    note.check_signature(*verifier.read_public_key(err.removeprefix("Public key: ")))
    assert command("audit_checkpoint", "--output", tmp_path / "c")[1] == ""
    assert (tmp_path / "c").read_text(encoding="utf-8") == out


def test_a_key_is_made_once_and_only_its_owner_reads_it(settings: Any, tmp_path: Path) -> None:
    settings.AUDIT_SIGNING_KEY, settings.AUDIT_KEY_FILE = b"", tmp_path / "data" / "key"
    keys = set()
    threads = [threading.Thread(target=lambda: keys.add(checkpoints.public_key())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 1
    assert settings.AUDIT_KEY_FILE.stat().st_mode & 0o077 == 0
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["key"]
    settings.AUDIT_SIGNING_KEY = base64.b64decode(settings.AUDIT_KEY_FILE.read_text())
    assert {checkpoints.public_key()} == keys


def test_checkpoints_come_on_schedule_while_the_log_grows(settings: Any) -> None:
    settings.AUDIT_CHECKPOINT_MINUTES = 60
    write(1)
    assert checkpoints.is_due()
    checkpoints.take()
    write(1)
    assert not checkpoints.is_due()
    with time_machine.travel(timezone.now() + timedelta(minutes=61)):
        assert checkpoints.is_due()
        checkpoints.take()
    with time_machine.travel(timezone.now() + timedelta(minutes=130)):
        assert not checkpoints.is_due()


def test_a_log_that_contradicts_the_last_checkpoint_is_not_signed() -> None:
    write(5)
    checkpoints.take()
    with behind_the_triggers() as execute:
        execute("UPDATE audit_auditseal SET hash = %s WHERE seq = 5", ["a" * 64])
    write(1)
    with pytest.raises(verifier.BrokenError, match="seq 1 to 5: not the entries that the checkpoint of 5 covers"):
        checkpoints.take()
    assert command("audit_checkpoint")[0] == 1
    assert AuditCheckpoint.objects.count() == 1


def test_a_restored_older_database_is_not_signed() -> None:
    write(5)
    checkpoints.publish(checkpoints.take().note)
    with behind_the_triggers() as execute:
        execute("DELETE FROM audit_auditcheckpoint")
        execute("DELETE FROM audit_auditseal WHERE seq > 3")
        execute("DELETE FROM audit_auditentry WHERE id NOT IN (SELECT entry_id FROM audit_auditseal)")
    with pytest.raises(verifier.BrokenError, match="seq 4: missing; a checkpoint covers 5 entries"):
        checkpoints.take()
    status, _, said = command("verify_audit")
    assert (status, said) == (1, "Broken: seq 4: missing; a checkpoint covers 5 entries.")
    write(5)
    with pytest.raises(verifier.BrokenError, match="seq 1 to 5: not the entries"):
        checkpoints.take()


@pytest.mark.parametrize("frontier", [["a" * 64, "b" * 64], ["x"], [7], [None], [], "its root"])
def test_no_checkpoint_extends_a_forged_list_of_subtrees(frontier: list[object]) -> None:
    write(5)
    row = checkpoints.take()
    frontier = [row.root] if frontier == "its root" else frontier
    with behind_the_triggers() as execute:
        execute("UPDATE audit_auditcheckpoint SET frontier = %s", [json.dumps(frontier)])
    write(1)
    with pytest.raises(verifier.BrokenError):
        checkpoints.take()


def test_a_changed_checkpoint_in_the_database_is_neither_extended_nor_ignored() -> None:
    write(5)
    checkpoints.take()
    with behind_the_triggers() as execute:
        execute("UPDATE audit_auditcheckpoint SET note = 'x'")
    write(1)
    assert command("audit_checkpoint")[0] == 1
    status, _, said = command("verify_audit")
    assert (status, said.startswith("Broken: a checkpoint in the database was changed")) == (1, True)


def forged(note: str) -> str:
    """The note with an invalid signature under our key id."""
    text, _, mark = note.partition("\n\n")
    name, signature = mark.removeprefix("— ").split()
    return f"{text}\n\n— {name} {base64.b64encode(base64.b64decode(signature)[:4] + bytes(64)).decode()}\n"


@pytest.mark.parametrize("where", ["database", "file"])
def test_a_checkpoint_with_another_signature_is_neither_trusted_nor_extended(
    published: Path, where: str, settings: Any
) -> None:
    write(5)
    row = checkpoints.take()
    checkpoints.publish(row.note)
    stranger = Ed25519PrivateKey.generate()
    text = row.note.partition("\n\n")[0] + "\n"
    origin = text.partition("\n")[0]
    mark = verifier.Checkpoint.key_id(origin, stranger.public_key().public_bytes_raw()) + stranger.sign(text.encode())
    theirs = f"{text}\n— {origin} {base64.b64encode(mark).decode()}\n"
    write(1)
    for note, problem in (
        (forged(row.note), "the checkpoint of 5 was changed: its signature is not right"),
        (theirs, "the checkpoint of 5 is signed with a key that is neither this console's nor in"),
    ):
        if where == "file":
            published.write_text(note, encoding="utf-8")
        else:
            with behind_the_triggers() as execute:
                execute("UPDATE audit_auditcheckpoint SET note = %s", [note])
        status, _, said = command("audit_checkpoint")
        assert (status, problem in said) == (1, True), said
        status, _, said = command("verify_audit")
        assert (status, problem in said) == (1, True), said
    assert AuditCheckpoint.objects.count() == 1
    settings.AUDIT_FORMER_PUBLIC_KEYS = [stranger.public_key().public_bytes_raw()]
    assert command("verify_audit")[0] == 0
    assert command("audit_checkpoint")[0] == 0


def test_a_new_signing_key_goes_on_from_the_former_one(settings: Any) -> None:
    write(2)
    checkpoints.publish(checkpoints.take().note)
    former = checkpoints.public_key()
    settings.AUDIT_SIGNING_KEY = b"n" * 32
    write(2)
    assert command("audit_checkpoint")[0] == 1
    settings.AUDIT_FORMER_PUBLIC_KEYS = [former]
    assert command("audit_checkpoint")[0] == 0
    assert command("verify_audit")[0] == 0


def test_a_checkpoint_of_another_process_is_no_contradiction(monkeypatch: pytest.MonkeyPatch) -> None:
    head = checkpoints.chain.head

    def head_after_another_has_signed() -> tuple[int, str]:
        # Only once, as the nested call reads the head, too.
        monkeypatch.setattr(checkpoints.chain, "head", head)
        last = head()
        write(1)
        checkpoints.publish(checkpoints.take().note)
        return last

    write(3)
    checkpoints.publish(checkpoints.take().note)
    monkeypatch.setattr(checkpoints.chain, "head", head_after_another_has_signed)
    assert checkpoints.take().size == 3
    assert checkpoints.take().size == 4


def test_the_published_checkpoint_reveals_an_emptied_database() -> None:
    write(5)
    checkpoints.publish(checkpoints.take().note)
    with behind_the_triggers() as execute:
        for table in reversed(triggers.TABLES):
            execute(f"DELETE FROM {table}")
    with pytest.raises(verifier.BrokenError, match="seq 1: missing; a checkpoint covers 5 entries"):
        checkpoints.take()
    assert command("verify_audit")[2] == "Broken: seq 1: missing; a checkpoint covers 5 entries."
