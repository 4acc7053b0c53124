"""`manage.py export_audit`: the audit log as JSON lines or CSV (docs/interface.md, "Commands")."""

import gc
import os
import signal
import threading
from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from moderation.audit.events import LogExported
from moderation.audit.ledger import export
from moderation.audit.ledger.chain import Sealer
from moderation.audit.ledger.export import FORMATS
from moderation.audit.models import AuditEntry
from moderation.audit.request_context import COMMAND_LINE
from moderation.audit.services import record

FOLLOW_SECONDS = 1.0
ENTRIES_BETWEEN_CURSORS = 10_000


def moment(option: str, text: str) -> datetime:
    """Parse an ISO 8601 date or time; a naive one is UTC. Raises CommandError naming `option`."""
    try:
        value = datetime.fromisoformat(text.strip())
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandError(
            f"{option}: “{text}” is not a time. Write it as 2026-01-31, 2026-01-31T08:00:00Z or "
            "2026-01-31T16:00:00+08:00; without a zone it is UTC."
        ) from None


def read_cursor(path: Path) -> int:
    """Read the seq from the file; 0 if there is no file. Raises CommandError for other content."""
    try:
        return int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError):
        raise CommandError(f"--cursor: {path} does not hold a number.") from None


def unwritable(name: str, problem: OSError) -> CommandError:
    """The error for an output that cannot be written."""
    return CommandError(f"{name} cannot be written: {problem.strerror}.", returncode=2)


class Command(BaseCommand):
    help = (
        "Writes the audit log, one entry a line, oldest first. Messages go to stderr. "
        "In CSV, ' stands before what a spreadsheet would take for a formula; a file of --output begins with a "
        "byte-order mark, without which Excel garbles Chinese, standard output does not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--format",
            choices=FORMATS,
            default="jsonl",
            help="default: jsonl; ocsf: events of the class API Activity, the entry itself under “unmapped”",
        )
        parser.add_argument("--since", metavar="ISO", help="entries of this time and later; no zone: UTC")
        parser.add_argument("--until", metavar="ISO", help="entries before this time; no zone: UTC")
        parser.add_argument(
            "--output", metavar="F", help="file to write, replaced only when all is written; default: stdout"
        )
        parser.add_argument(
            "--follow",
            action="store_true",
            help="go on with each entry within seconds, for a log collector, until SIGTERM; JSON lines on stdout. "
            "After an abrupt end some entries come again, with the same seq",
        )
        parser.add_argument(
            "--cursor", metavar="F", help="with --follow: the file that keeps the last seq written; begins there"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        since, until = (
            None if text is None else moment(option, text)
            for option, text in (("--since", options["since"]), ("--until", options["until"]))
        )
        if since and until and since >= until:
            raise CommandError("--since must be before --until.")
        Sealer().seal()
        # Exclude loaded modules from garbage collection, which saves a tenth of the time.
        gc.freeze()
        entries = AuditEntry.objects.all()
        if since:
            entries = entries.filter(at__gte=since)
        if until:
            entries = entries.filter(at__lt=until)
        if options["cursor"] and not options["follow"]:
            raise CommandError("--cursor belongs to --follow.")
        if options["follow"] and (options["output"] or until or options["format"] == "csv"):
            raise CommandError("--follow writes JSON lines to stdout without end: not with --output, --until, or CSV.")
        filters = {name: at.isoformat() for name, at in (("since", since), ("until", until)) if at}
        if options["follow"]:
            self._follow(entries, filters, options["cursor"] and Path(options["cursor"]), options["format"])
            return
        lines = export.lines(options["format"], entries, actor=COMMAND_LINE, filters=filters)
        if options["output"]:
            try:
                count = export.write_file(Path(options["output"]), export.with_mark(options["format"], lines))
            except OSError as problem:
                raise unwritable(f"--output: {options['output']}", problem) from None
            # Of CSV, the byte-order mark and the headings are not entries.
            others = 2 if options["format"] == "csv" else 0
            self.stderr.write(f"Entries written to {options['output']}: {count - others}.")
        else:
            self._begin()
            self._print(lines)

    def _follow(self, entries: QuerySet[AuditEntry], filters: dict[str, str], cursor: Path | None, kind: str) -> None:
        """Print entries as they are sealed, until SIGTERM or SIGINT. `cursor` has the last seq that was flushed."""
        after = read_cursor(cursor) if cursor else 0
        if after > export.last_seq():
            raise CommandError(f"--cursor: {after} is beyond the log's end: it is of another log, or entries are gone.")
        end = threading.Event()
        # Fail before any output: with an unwritable cursor every entry would be exported again after a restart.
        self._keep(cursor, after)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda signum, frame: end.set())
        record(LogExported(actor=COMMAND_LINE, format=kind, filters=filters, follow=True, entries_after=after))
        self._begin()
        sealer = Sealer()
        while not end.is_set():
            sealer.seal()
            until = min(export.last_seq(), after + ENTRIES_BETWEEN_CURSORS)
            if until == after:
                end.wait(FOLLOW_SECONDS)
                continue
            if not self._print(FORMATS[kind].lines(export.rows(entries, after, until))):
                return
            after = until
            self._keep(cursor, after)

    def _keep(self, cursor: Path | None, after: int) -> None:
        """Write the seq `after` to `cursor`, if it is given."""
        try:
            if cursor:
                export.write_file(cursor, [f"{after}\n"])
        except OSError as problem:
            raise unwritable(f"--cursor: {cursor}", problem) from None

    def _begin(self) -> None:
        if hasattr(self.stdout, "reconfigure"):
            self.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")

    def _print(self, lines: Iterable[str]) -> bool:
        """Print lines. Returns False if the reader is gone; raises CommandError if the device is full."""
        try:
            for line in lines:
                self.stdout.write(line, ending="")
            self.stdout.flush()
            return True
        except OSError as problem:
            # Prevent another error when stdout is flushed at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
            if not isinstance(problem, BrokenPipeError):
                raise unwritable("Standard output", problem) from None
            # A closed pipe is normal: `export_audit | head`.
            return False
