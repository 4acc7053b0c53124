"""Commands without a usable database end with a message and status 2, without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.console import ROOT, free_port

COMMANDS = (
    ["audit_checkpoint"],
    ["audit_proof", "1", "--output", "/dev/null"],
    ["export_audit"],
    ["verify_audit"],
    ["rotate_keys"],
    ["reconcile"],
    ["backfill", "--all"],
    ["createsuperuser", "--no-input", "--username", "a", "--email", "a@example.com"],
)


def manage(url: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_command_reports_a_database_that_cannot_be_opened(tmp_path: Path, command: list[str]) -> None:
    result = manage(f"sqlite:///{tmp_path}", *command)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr in {
        f"{prefix} unable to open database file\n"
        for prefix in ("The database does not answer:", "CommandError: Cannot be read:")
    }


def test_a_command_reports_an_unreachable_server_without_its_password() -> None:
    port = free_port()
    result = manage(f"postgres://console:geheim@127.0.0.1:{port}/console", "audit_checkpoint")
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = [line for line in result.stderr.splitlines() if "database" in line]
    assert line.startswith("The database does not answer: ")
    assert str(port) in line
    assert "geheim" not in result.stderr
    assert "Traceback" not in result.stderr
