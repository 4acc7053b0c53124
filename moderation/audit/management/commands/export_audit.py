"""`manage.py export_audit`: the audit log as JSON lines or CSV (interface.md, "Commands")."""

import os
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from moderation.audit import export
from moderation.audit.chain import Sealer
from moderation.audit.export import FORMATS
from moderation.audit.models import AuditEntry
from moderation.audit.services import COMMAND_LINE


def moment(option: str, text: str) -> datetime:
    """An ISO 8601 date or time as UTC, a naive one being UTC already; CommandError names `option`."""
    try:
        value = datetime.fromisoformat(text.strip())
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandError(
            f"{option}: “{text}” is not a time. Write it as 2026-01-31, 2026-01-31T08:00:00Z or "
            "2026-01-31T16:00:00+08:00; without a zone it is UTC."
        ) from None


def write_file(path: Path, lines: Iterable[str]) -> int:
    """Write `lines` to `path` and return their number. Raises OSError.

    Whoever looks there sees the old file or all of the new one, which its owner alone can read.
    """
    count = 0
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            for line in lines:
                file.write(line)
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return count


class Command(BaseCommand):
    help = (
        "Writes the audit log, one entry a line, oldest first. Messages go to stderr. "
        "In CSV, cells that a spreadsheet would take for a formula begin with '."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=FORMATS, default="jsonl", help="default: jsonl")
        parser.add_argument("--since", metavar="ISO", help="entries of this time and later; no zone: UTC")
        parser.add_argument("--until", metavar="ISO", help="entries before this time; no zone: UTC")
        parser.add_argument(
            "--output", metavar="F", help="file to write, replaced only when all is written; default: stdout"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        since, until = (
            None if text is None else moment(option, text)
            for option, text in (("--since", options["since"]), ("--until", options["until"]))
        )
        if since and until and since >= until:
            raise CommandError("--since must be before --until.")
        Sealer().seal()
        entries = AuditEntry.objects.all()
        if since:
            entries = entries.filter(at__gte=since)
        if until:
            entries = entries.filter(at__lt=until)
        filters = {name: at.isoformat() for name, at in (("since", since), ("until", until)) if at}
        lines = export.lines(options["format"], entries, actor=COMMAND_LINE, filters=filters)
        if options["output"]:
            try:
                count = write_file(Path(options["output"]), lines)
            except OSError as problem:
                raise CommandError(f"--output: {options['output']} cannot be written: {problem.strerror}.") from None
            headings = options["format"] == "csv"
            self.stderr.write(f"Entries written to {options['output']}: {count - headings}.")
        else:
            self._print(lines)

    def _print(self, lines: Iterable[str]) -> None:
        if hasattr(self.stdout, "reconfigure"):
            self.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
        try:
            for line in lines:
                self.stdout.write(line, ending="")
            self.stdout.flush()
        except BrokenPipeError:
            # `export_audit | head` has seen enough; nothing more may be flushed at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
