"""Checkpoints: what is signed, what is not signed, where it is written; and `verify_audit`, on both engines."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from moderation.audit import verifier
from moderation.audit.ledger import checkpoints, triggers
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditCheckpoint, AuditEntry, AuditSeal

from .entries import record
from .logs import root

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def published(settings: Any, tmp_path: Path) -> Path:
    settings.AUDIT_CHECKPOINT_FILE = str(tmp_path / "published" / "checkpoint")
    return Path(settings.AUDIT_CHECKPOINT_FILE)


def write(count: int) -> None:
    for _ in range(count):
        record(actor="mo", action=Action.ANSWERED)
    Sealer().seal()


def command(name: str, *arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout, and stderr or the error."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command(name, *map(str, arguments), stdout=out, stderr=err)
    except CommandError as problem:
        return problem.returncode, out.getvalue(), str(problem)
    return 0, out.getvalue(), err.getvalue()


@contextmanager
def behind_the_triggers() -> Iterator[Callable[..., None]]:
    """A function that runs SQL as the table's owner could: with the triggers off."""
    with connection.cursor() as cursor:
        for table in triggers.TABLES:
            for statement in triggers.STATEMENTS[connection.vendor][1](table):
                cursor.execute(statement)
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        yield cursor.execute
        for table in triggers.TABLES:
            for statement in triggers.STATEMENTS[connection.vendor][0](table):
                cursor.execute(statement)


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
    """The note with a signature that only says to be ours."""
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
        # Once: it looks for the head, too.
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


def test_a_checkpoint_is_written_to_the_file_whole_and_for_everybody(published: Path) -> None:
    write(2)
    note = checkpoints.take().note
    checkpoints.publish(note)
    assert published.read_text(encoding="utf-8") == note
    assert published.stat().st_mode & 0o777 == 0o644
    assert list(published.parent.iterdir()) == [published]


def test_a_checkpoint_is_one_line_for_a_log_collector(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.AUDIT_CHECKPOINT_STDOUT = True
    write(2)
    checkpoints.publish(checkpoints.take().note)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"audit_checkpoint": AuditCheckpoint.objects.get().note}


@contextmanager
def witness(status: int) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A server that takes what is posted to it: its address, and what it has taken."""
    taken: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append((self.headers["Content-Type"], self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/checkpoints?token=secret-token", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_checkpoint_is_posted(settings: Any) -> None:
    write(2)
    note = checkpoints.take().note
    with witness(204) as (settings.AUDIT_CHECKPOINT_URL, taken):
        checkpoints.publish(note)
    assert taken == [("text/plain; charset=utf-8", note.encode())]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_refused_publication_is_reported_without_the_address(settings: Any, published: Path, status: int) -> None:
    write(2)
    note = checkpoints.take().note
    with witness(status) as (settings.AUDIT_CHECKPOINT_URL, taken):
        with pytest.raises(checkpoints.NotPublished, match=f"^AUDIT_CHECKPOINT_URL: it answered {status}$"):
            checkpoints.publish(note)
        assert len(taken) == 1
    # The other places have it all the same.
    assert published.read_text(encoding="utf-8") == note


def test_an_unreachable_witness_is_reported_without_the_address(settings: Any) -> None:
    settings.AUDIT_CHECKPOINT_URL = "http://127.0.0.1:9/?token=secret-token"
    write(2)
    with pytest.raises(checkpoints.NotPublished, match="^AUDIT_CHECKPOINT_URL: ConnectionError$"):
        checkpoints.publish(checkpoints.take().note)


def test_an_unwritable_checkpoint_file_is_reported(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write(2)
    note = checkpoints.take().note
    settings.AUDIT_CHECKPOINT_FILE = str(tmp_path / "file" / "checkpoint")
    with pytest.raises(checkpoints.NotPublished, match="file/checkpoint: "):
        checkpoints.publish(note)


def test_an_unpublished_checkpoint_is_published_in_a_later_round(
    settings: Any, published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoints.sign_and_publish("") == ""
    settings.AUDIT_CHECKPOINT_URL = "http://127.0.0.1:9/?token=secret-token"
    write(2)
    left = checkpoints.sign_and_publish("")
    assert verifier.Checkpoint.read(left).size == 2
    assert "was not published: AUDIT_CHECKPOINT_URL: ConnectionError; trying again" in caplog.text
    assert "secret-token" not in caplog.text
    write(1)
    with witness(200) as (settings.AUDIT_CHECKPOINT_URL, taken):
        assert checkpoints.sign_and_publish(left) == ""
        assert checkpoints.sign_and_publish("") == ""
    assert [body.decode() for _, body in taken] == [left]
    assert published.read_text(encoding="utf-8") == left


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


# SQLite takes any value in any column.
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


def test_a_checkpoint_signed_by_somebody_else_is_refused_unless_their_key_is_given(
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
    # That somebody gave a wrong file is nothing that was found of the log.
    assert AuditEntry.objects.count() == entries
    assert command("verify_audit", "--checkpoint", tmp_path / "c", "--public-key", tmp_path / "k")[0] == 0


def test_one_entry_is_proven_to_somebody_who_sees_no_other(tmp_path: Path) -> None:
    write(6)
    assert command("audit_proof", "4", "--output", tmp_path / "p")[0] == 0
    (line,) = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    entry = verifier.load(line)
    note = verifier.check_proof(entry, (tmp_path / "p").read_text(encoding="utf-8"))
    assert (entry["seq"], note.size) == (4, 6)
    note.check_signature(checkpoints.public_key())
    assert command("audit_proof", "99", "--output", tmp_path / "p")[0] == 2
