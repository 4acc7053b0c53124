"""The key that signs checkpoints: its generation, and messages and alarms when it is missing, on both engines."""

from __future__ import annotations

import base64
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.utils import timezone

from moderation.audit import alarms, jobs
from moderation.audit.ledger import checkpoints, signing
from moderation.audit.ledger.chain import Sealer
from moderation.audit.loops import Signer
from moderation.audit.models import Action, AuditAlarm, AuditEntry, AuditJob
from moderation.operations import alarms as mailed

from .entries import record
from .signed_logs import behind_the_triggers, command, write

pytestmark = pytest.mark.django_db
KEY_MISSING = AuditAlarm.Problem.KEY_MISSING


@pytest.fixture(autouse=True)
def key_file(settings: Any, tmp_path: Path) -> Path:
    settings.AUDIT_SIGNING_KEY = b""
    settings.AUDIT_KEY_FILE = tmp_path / "audit-signing-key"
    settings.AUDIT_CHECKPOINT_FILE = str(tmp_path / "audit-checkpoint")
    return tmp_path / "audit-signing-key"


@pytest.fixture
def lost(key_file: Path) -> bytes:
    """The public key of a log with a published checkpoint and a lost signing key."""
    write(3)
    checkpoints.publish(checkpoints.take().note)
    public = signing.public_key()
    key_file.unlink()
    return public


def test_a_log_without_checkpoints_gets_a_new_key(key_file: Path) -> None:
    signing.public_key()
    assert key_file.exists()


@pytest.mark.parametrize("where", ["database", "file"])
def test_no_key_is_made_over_a_log_that_has_checkpoints(lost: bytes, key_file: Path, settings: Any, where: str) -> None:
    if where == "database":
        settings.AUDIT_CHECKPOINT_FILE = ""
    else:
        with behind_the_triggers() as execute:
            execute("DELETE FROM audit_auditcheckpoint")
    write(1)
    with pytest.raises(signing.SigningKeyError, match="the signing key is missing: .* Put the file back"):
        checkpoints.take()
    for name in ("audit_checkpoint", "audit_proof"):
        status, _, said = command(name, *(["1", "--output", key_file.parent / "p"] if name == "audit_proof" else []))
        assert (status, said.startswith("Not signed: the signing key is missing")) == (2, True), said
    assert not key_file.exists()


def test_a_missing_key_is_not_reported_as_an_altered_log(lost: bytes) -> None:
    status, _, said = command("verify_audit")
    assert status == 2
    assert said.startswith("Cannot be verified: the signing key is missing: AUDIT_SIGNING_KEY is not set and ")
    assert "all of seq 3, " in said and "Broken" not in said
    finding = AuditEntry.objects.get(action=Action.LOG_VERIFIED).detail
    assert (finding["problem"], finding["key_problem"], finding["entries"]) == (None, "key_missing", 3)


def test_an_altered_log_is_detected_without_the_key(lost: bytes) -> None:
    with behind_the_triggers() as execute:
        execute("UPDATE audit_auditentry SET actor = 'somebody else'")
    assert command("verify_audit")[::2] == (1, "Broken: seq 1: its content is not what its hash was made of.")


def test_checkpoints_of_a_lost_key_are_verified_by_its_public_key(lost: bytes, settings: Any) -> None:
    settings.AUDIT_FORMER_PUBLIC_KEYS = [lost]
    assert command("verify_audit")[0] == 0
    assert command("audit_checkpoint")[0] == 2
    settings.AUDIT_SIGNING_KEY = b"a new key of thirty-two bytes..."
    assert command("audit_checkpoint")[0] == 0
    assert command("verify_audit")[0] == 0


def test_restoring_the_key_ends_the_alarm(key_file: Path) -> None:
    write(3)
    checkpoints.publish(checkpoints.take().note)
    kept = key_file.read_bytes()
    key_file.write_bytes(base64.b64encode(b"another key of thirty-two bytes."))
    assert "neither this console's nor" in command("verify_audit")[2]
    key_file.write_bytes(kept)
    assert command("verify_audit")[0] == 0
    assert command("audit_checkpoint")[0] == 0


@pytest.mark.parametrize("content", [b"", b"c2hvcnQ=", b"\xff\xfe not Base64"])
def test_a_key_file_without_a_key_is_reported_and_kept(lost: bytes, key_file: Path, content: bytes) -> None:
    key_file.write_bytes(content)
    status, _, said = command("verify_audit")
    assert (status, "cannot be used: it does not hold 32 bytes in Base64" in said) == (2, True), said
    assert key_file.read_bytes() == content
    assert AuditEntry.objects.get(action=Action.LOG_VERIFIED).detail["key_problem"] == "key_unusable"


def test_the_worker_raises_the_alarm_even_when_no_checkpoint_is_due(
    lost: bytes, key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        Signer().sign()
    assert "the audit log is not signed: the signing key is missing" in caplog.text
    assert "BROKEN" not in caplog.text
    assert [alarm.problem for alarm in alarms.live()] == [KEY_MISSING]
    assert not key_file.exists()


def test_a_log_that_contradicts_its_checkpoint_raises_an_alarm_of_its_own(
    lost: bytes, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.AUDIT_SIGNING_KEY = b"somebody else's thirty-two bytes"
    write(1)
    monkeypatch.setattr(checkpoints, "is_due", lambda: True)
    Signer().sign()
    assert alarms.state() == "broken"


def test_the_alarm_ends_when_workers_stop_raising_it() -> None:
    alarms.raise_alarm(KEY_MISSING)
    assert alarms.state() == "key_missing"
    with time_machine.travel(timezone.now() + timedelta(seconds=61)):
        assert alarms.state() == "ok"


def test_the_alarm_is_mailed_again_only_after_an_hour_without_it(make_user: Any) -> None:
    make_user("ada", "admin", email="ada@example.com")
    for _ in range(2):
        alarms.raise_alarm(KEY_MISSING)
        mailed.watch()
    (letter,) = mail.outbox
    assert (letter.subject, letter.to) == ("The audit log is not being signed.", ["ada@example.com"])
    assert "The signing key is missing." in letter.body
    with time_machine.travel(timezone.now() + timedelta(minutes=62)):
        alarms.raise_alarm(KEY_MISSING)
        mailed.watch()
    assert len(mail.outbox) == 2


@pytest.mark.parametrize(("role", "shown"), [("moderator", False), ("auditor", True), ("admin", True)])
def test_home_shows_the_alarm_to_whoever_may_read_the_log(
    client: Client, make_user: Any, role: str, shown: bool
) -> None:
    alarms.raise_alarm(KEY_MISSING)
    client.force_login(make_user("somebody", role))
    page = client.get("/").content.decode()
    assert ("The audit log is not being signed." in page) == shown
    assert ("Put the file audit-signing-key back" in page) == shown


def test_readyz_names_the_problem(client: Client) -> None:
    assert client.get("/readyz").json()["audit"] == "ok"
    alarms.raise_alarm(KEY_MISSING)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["audit"]) == (503, "key_missing")


def test_admin_shows_a_missing_key_and_not_a_broken_log(lost: bytes, client: Client, auditor: Any) -> None:
    job = AuditJob.objects.create(kind=AuditJob.Kind.VERIFICATION, actor="audrey")
    jobs.work(job.pk)
    client.force_login(auditor)
    for address in ("/admin/audit/auditentry/", f"/admin/audit/auditentry/jobs/{job.pk}/"):
        page = client.get(address).content.decode()
        assert "not verified</span> The signing key is missing." in page
        assert "broken</span>" not in page
        assert "not signed</span>" not in page
    alarms.raise_alarm(KEY_MISSING)
    assert (
        "not signed</span> The signing key is missing. Put" in client.get("/admin/audit/auditentry/").content.decode()
    )


def test_sealing_needs_no_key(lost: bytes) -> None:
    record(actor="mo", action=Action.ANSWERED)
    assert Sealer().seal() == 1
