"""The Backup section of docs/operations.md, followed to the letter on a second folder, ends in an intact log."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from .consoles import ROOT, databases, install, use


def commands_of(section: str) -> list[str]:
    """The shell commands of a subsection of "Backup", a block each."""
    document = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (backup,) = re.findall(r"^## Backup\n(.*?)^## ", document, re.MULTILINE | re.DOTALL)
    (text,) = re.findall(rf"^### {section}\n(.*?)(?=^### |\Z)", backup, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    return blocks


def test_following_the_document_ends_in_an_intact_log(tmp_path: Path) -> None:
    with databases(2) as (first, second):
        old = install(tmp_path / "old", first)
        use(old)
        for commands in commands_of("Making a backup"):
            done = old.run("sh", "-ec", commands)
            assert done.returncode == 0, done.stderr
        before = old.manage("verify_audit")
        new = install(tmp_path / "new", second)
        shutil.rmtree(old.data, ignore_errors=True)
        for name in ("console.backup", "backup-passphrase"):
            shutil.copy(old.folder / name, new.folder / name)
        # The documented .env, but for where PostgreSQL's database is.
        new.write_env(SECRET_KEY=old.settings["SECRET_KEY"])
        for commands in commands_of("Putting it back"):
            done = new.run("sh", "-ec", commands)
            assert done.returncode == 0, done.stderr
        assert before.returncode == 0
        assert done.stdout.splitlines()[-1].startswith("Intact: all of seq ")
        # Everything is there: the account, and the stored key, which this SECRET_KEY opens.
        read = "from moderation.applications.models import Application as A; print(A.objects.get(slug='second').appkey())"
        assert new.manage("shell", "-v", "0", "-c", read).stdout.strip() == "BC-fedcba9876543210"
        # The log goes on, is signed with the same key, and can be proven elsewhere.
        for commands in commands_of("A copy of the log elsewhere"):
            done = new.run("sh", "-ec", commands)
            assert done.returncode == 0, done.stderr
        arguments = ("-m", "moderation.audit.verifier", "audit.jsonl", "--checkpoint", "audit.checkpoint")
        assert new.run(".venv/bin/python", *arguments).returncode == 0
        entries = map(json.loads, (new.folder / "audit.jsonl").read_text(encoding="utf-8").splitlines())
        actions = [entry["action"] for entry in entries]
        assert [action for action in actions if action.startswith("backup.")] == ["backup.made", "backup.restored"]
