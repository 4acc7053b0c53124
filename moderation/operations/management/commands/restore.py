"""`manage.py restore`: restore a backup, verified before and after."""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from moderation.operations import passphrase, restore
from moderation.operations.container import BackupError


class Command(BaseCommand):
    help = (
        "Verifies a file written by `manage.py backup`, restores it into the database and DATA_DIR, and verifies the "
        "audit log. Stop web processes and workers first. Exit status: 0 restored and intact; 1 restored, but the "
        "audit log is broken or cannot be verified; 2 not restored, nothing was changed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="file written by `manage.py backup`")
        passphrase.add_arguments(parser)
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="replace a database that is not empty; a replaced SQLite file is kept, PostgreSQL data is not",
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, **options: Any) -> None:
        path = Path(options["file"])
        try:
            secret = passphrase.read(options["passphrase_file"], ask=options["ask_passphrase"], is_new=False)
            report = restore.restore(path, secret, overwrite=options["overwrite"])
        except BackupError as problem:
            raise CommandError(str(problem), returncode=2) from None
        except restore.UnfinishedError as problem:
            raise CommandError(str(problem), returncode=1) from None
        except OSError as problem:
            raise CommandError(f"{problem.filename or path}: {problem.strerror}.", returncode=2) from None
        except Error as problem:
            raise CommandError(f"The database cannot be written: {problem}", returncode=2) from None
        if options["json"]:
            self.stdout.write(json.dumps(report, ensure_ascii=False))
        else:
            for line in report_lines(report):
                self.stdout.write(line)
        if report["audit"]["problem"] or "key_problem" in report["audit"]:
            sys.exit(1)


def report_lines(report: dict[str, Any]) -> list[str]:
    """Lines for people about a restored backup."""
    lines = [f"Restored: the backup of {report['made_at']}."]
    if report["kept_aside"]:
        lines.append(f"Replaced files were kept: {', '.join(report['kept_aside'])}.")
    if report["settings_that_differ"]:
        lines.append(f"Settings that differ from the backup: {', '.join(report['settings_that_differ'])}.")
    if count := report["keys_that_cannot_be_opened"]:
        lines.append(
            f"Stored keys that cannot be opened: {count}. Restore the former SECRET_KEY and FIELD_ENCRYPTION_KEY, "
            "or enter the keys again in Django admin."
        )
    if count := report["recalls_stopped"]:
        lines.append(
            f"Recalls in progress when the backup was made: {count}. They are stopped, because it is unknown what was "
            "sent since. A worker checks history for their messages; a person decides about the rest."
        )
    audit = report["audit"]
    if audit["problem"]:
        lines.append(f"The audit log is broken: {audit['problem']}.")
    elif "key_problem" in audit:
        lines.append("The audit log cannot be verified: the backup has no signing key, and none is set here.")
    else:
        lines.append(f"The audit log is intact: all entries up to seq {audit['entries']}, head {audit['head']}.")
    return lines
