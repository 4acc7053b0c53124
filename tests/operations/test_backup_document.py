"""The commands in the Backup section of docs/operations.md work, and the restored audit log is intact."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from .consoles import ROOT, databases, install, populate


def commands_of(section: str) -> list[str]:
    """Blocks of shell commands in a subsection of "Backup"."""
    document = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (backup,) = re.findall(r"^## Backup\n(.*?)^## ", document, re.MULTILINE | re.DOTALL)
    (text,) = re.findall(rf"^### {section}\n(.*?)(?=^### |\Z)", backup, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    return blocks


def test_the_documented_commands_restore_an_intact_log(tmp_path: Path) -> None:
    with databases(2) as (first, second):
        old = install(tmp_path / "old", first)
        populate(old)
        for commands in commands_of("Making a backup"):
            result = old.run("sh", "-ec", commands)
            assert result.returncode == 0, result.stderr
        before = old.manage("verify_audit")
        new = install(tmp_path / "new", second)
        shutil.rmtree(old.data, ignore_errors=True)
        for name in ("console.backup", "backup-passphrase"):
            shutil.copy(old.folder / name, new.folder / name)
        # The documented .env, except for PostgreSQL's DATABASE_URL.
        new.write_env(SECRET_KEY=old.settings["SECRET_KEY"])
        for commands in commands_of("Putting it back"):
            result = new.run("sh", "-ec", commands)
            assert result.returncode == 0, result.stderr
        assert before.returncode == 0
        assert result.stdout.splitlines()[-1].startswith("Intact: all of seq ")
        # The data is there, and this SECRET_KEY opens the stored key.
        read = (
            "from moderation.applications.models import Application; "
            "print(Application.objects.get(slug='second').appkey())"
        )
        assert new.manage("shell", "-v", "0", "-c", read).stdout.strip() == "BC-fedcba9876543210"
        # The log continues, is signed with the same key, and can be verified elsewhere.
        for commands in commands_of("A copy of the log elsewhere"):
            result = new.run("sh", "-ec", commands)
            assert result.returncode == 0, result.stderr
        arguments = ("-m", "moderation.audit.verifier", "audit.jsonl", "--checkpoint", "audit.checkpoint")
        assert new.run(".venv/bin/python", *arguments).returncode == 0
        entries = map(json.loads, (new.folder / "audit.jsonl").read_text(encoding="utf-8").splitlines())
        actions = [entry["action"] for entry in entries]
        assert [action for action in actions if action.startswith("backup.")] == ["backup.made", "backup.restored"]
