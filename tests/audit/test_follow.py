"""`export_audit --follow`: every entry reaches a collector at least once, also across a restart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action
from moderation.audit.services import record_all

from .databases import database_url
from .entries import entry

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
Process = subprocess.Popen[str]


def write(count: int) -> None:
    record_all([entry(actor="mo", action=Action.ANSWERED) for _ in range(count)])


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[[], Process]]:
    """A function that starts the command with the same cursor each time."""
    started: list[Process] = []

    def start() -> Process:
        command = [sys.executable, "manage.py", "export_audit", "--follow", "--cursor", str(tmp_path / "cursor")]
        environment = {**os.environ, "DATABASE_URL": database_url()}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def read(process: Process, count: int) -> list[int]:
    """The seq of the next `count` lines."""
    assert process.stdout is not None
    return [json.loads(process.stdout.readline())["seq"] for _ in range(count)]


def test_entries_follow_as_they_are_written(follow: Callable[[], Process], tmp_path: Path) -> None:
    write(3)
    process = follow()
    # The fourth entry records the export itself.
    assert read(process, 4) == [1, 2, 3, 4]
    write(2)
    assert read(process, 2) == [5, 6]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=15) == 0
    assert (tmp_path / "cursor").read_text() == "6\n"
    write(1)
    assert read(follow(), 2) == [7, 8]


def test_after_a_kill_nothing_is_left_out(follow: Callable[[], Process], tmp_path: Path) -> None:
    seen: list[int] = []
    for _ in range(3):
        write(5)
        process = follow()
        seen += read(process, 3)
        process.kill()
        # Its last output is still in the pipe; the last line may be incomplete.
        seen += [json.loads(line)["seq"] for line in process.communicate()[0].split("\n")[:-1]]
    Sealer().seal()
    write(1)
    process = follow()
    while max(seen) < 5 * 3 + 4 + 1:
        seen += read(process, 1)
    assert sorted(set(seen)) == list(range(1, 21))


def test_a_reader_who_goes_away_ends_it(follow: Callable[[], Process]) -> None:
    write(1)
    process = follow()
    read(process, 1)
    assert process.stdout is not None
    process.stdout.close()
    write(1)
    assert process.wait(timeout=15) == 0


@pytest.mark.parametrize("more", [["--output", "x"], ["--until", "2026-01-01"], ["--format", "csv"]])
def test_options_that_end_an_export_are_refused_with_follow(more: list[str]) -> None:
    with pytest.raises(CommandError, match="^--follow writes JSON lines to stdout without end"):
        call_command("export_audit", "--follow", *more)


def test_an_invalid_cursor_or_one_of_another_log_is_named(tmp_path: Path) -> None:
    def refused(*arguments: Any) -> str:
        with pytest.raises(CommandError) as caught:
            call_command("export_audit", *arguments)
        return str(caught.value)

    cursor = tmp_path / "cursor"
    cursor.write_text("x")
    assert refused("--follow", "--cursor", str(cursor)) == f"--cursor: {cursor} does not hold a number."
    cursor.write_text("7")
    assert refused("--follow", "--cursor", str(cursor)).startswith("--cursor: 7 is beyond the log's end")
    assert refused("--cursor", str(cursor)) == "--cursor belongs to --follow."


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in a process until it ends."""
    command = [sys.executable, "manage.py", "export_audit", *arguments]
    environment = {**os.environ, "DATABASE_URL": database_url()}
    return subprocess.run(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, check=False, timeout=60, **options
    )


def test_a_cursor_that_cannot_be_kept_is_named_before_anything_is_written(tmp_path: Path) -> None:
    write(1)
    cursor = tmp_path / "nowhere" / "cursor"
    ended = run("--follow", "--cursor", str(cursor), stdout=subprocess.PIPE)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"CommandError: --cursor: {cursor} cannot be written: No such file or directory.\n"


@pytest.mark.parametrize("more", [[], ["--follow"], ["--format", "csv"]])
def test_a_full_device_is_named(more: list[str]) -> None:
    write(500)
    with open("/dev/full", "w") as full:
        ended = run(*more, stdout=full)
    assert ended.returncode == 2
    assert ended.stderr == "CommandError: Standard output cannot be written: No space left on device.\n"
