"""Forgeries are detected, honest logs raise no alarm, and a killed writer loses no acknowledged entry."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moderation.audit import verifier
from moderation.audit.ledger import checkpoints, export
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import AuditEntry, AuditSeal

from .databases import database_url
from .logs import checkpoint
from .mutations import campaign

ROOT = Path(__file__).resolve().parents[2]


def test_a_checkpoint_kept_elsewhere_reveals_every_forgery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note, key = tmp_path / "checkpoint", tmp_path / "key"
    key.write_text(base64.b64encode(checkpoints.public_key()).decode())
    done: set[str] = set()
    for name, path, honest, held in campaign(seed=1, count=600, folder=tmp_path):
        note.write_text(checkpoint(honest[:held]), encoding="utf-8")
        arguments = [str(path), "--checkpoint", str(note), "--public-key", str(key)]
        monkeypatch.setattr(sys, "argv", ["verifier.py", *arguments])
        assert verifier.main() in {1, 2}, (name, path.read_text(encoding="utf-8", errors="replace"))
        assert capsys.readouterr().err.startswith(("Broken: ", "Cannot be read: "))
        done.add(name)
    assert len(done) == 12


# Writes entries, two in each transaction, and prints the committed ones; seals at the same time, like a worker.
WRITER = """
import os, threading, django
django.setup()
from django.db import transaction
from moderation.audit.ledger.chain import Sealer
from moderation.audit.services import record_all
from tests.audit.entries import entry

def seal():
    sealer = Sealer()
    while True:
        sealer.seal()

def write():
    while True:
        with transaction.atomic():
            done = record_all([entry(actor="mo", action="recall.answered") for _ in range(2)])
        os.write(1, b"%d %d\\n" % tuple(each.pk for each in done))

threads = [threading.Thread(target=work, daemon=True) for work in (seal, write, write)]
for thread in threads:
    thread.start()
threads[0].join()
"""


@pytest.mark.django_db(transaction=True)
def test_a_killed_writer_leaves_the_chain_whole_and_everything_it_acknowledged_in_it() -> None:
    acknowledged: set[int] = set()
    environment = {**os.environ, "DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "moderation.settings"}
    for lines in (1, 8, 25):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(lines):
            acknowledged |= {int(pk) for pk in process.stdout.readline().split()}
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0]
        # The last line may be incomplete; the others are acknowledgements, too.
        acknowledged |= {int(pk) for line in rest.split("\n")[:-1] for pk in line.split()}
    Sealer().seal()
    rebuilt = verifier.Chain()
    for row in export.rows(AuditEntry.objects.all()):
        rebuilt.add(row)
    kept = set(AuditSeal.objects.values_list("entry_id", flat=True))
    assert len(acknowledged) >= 2 * (1 + 8 + 25)
    assert acknowledged <= kept
    assert rebuilt.seq == len(kept) == AuditEntry.objects.count()
