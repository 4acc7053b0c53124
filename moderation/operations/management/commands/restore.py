"""`manage.py restore`: put a backup back, verified before and after."""

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
        "Puts a file of `manage.py backup` into the database and DATA_DIR, after all of it was verified, and then "
        "verifies the audit log. Stop web processes and workers first. Exit status: 0 restored and intact; 1 restored, "
        "and the audit log is broken or cannot be verified; 2 not restored, nothing was changed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="what `manage.py backup` wrote")
        passphrase.add_arguments(parser)
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="replace a database that is not empty; SQLite's file is kept under another name, PostgreSQL's is lost",
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, **options: Any) -> None:
        path = Path(options["file"])
        try:
            secret = passphrase.read(options["passphrase_file"], ask=options["ask_passphrase"], is_new=False)
            found = restore.restore(path, secret, overwrite=options["overwrite"])
        except BackupError as problem:
            raise CommandError(str(problem), returncode=2) from None
        except restore.UnfinishedError as problem:
            raise CommandError(str(problem), returncode=1) from None
        except OSError as problem:
            raise CommandError(f"{problem.filename or path}: {problem.strerror}.", returncode=2) from None
        except Error as problem:
            raise CommandError(f"The database cannot be written: {problem}", returncode=2) from None
        if options["json"]:
            self.stdout.write(json.dumps(found, ensure_ascii=False))
        else:
            for line in sentences(found):
                self.stdout.write(line)
        if found["audit"]["problem"] or "key_problem" in found["audit"]:
            sys.exit(1)


def sentences(found: dict[str, Any]) -> list[str]:
    """Lines about a restored backup, for a person."""
    lines = [f"Restored: the backup of {found['made_at']}."]
    if found["kept_aside"]:
        lines.append(f"What it replaced is kept: {', '.join(found['kept_aside'])}.")
    if found["settings_that_differ"]:
        lines.append(f"Settings that differ from those of the backup: {', '.join(found['settings_that_differ'])}.")
    if count := found["keys_that_cannot_be_opened"]:
        lines.append(
            f"Stored keys that cannot be opened: {count}. Set SECRET_KEY and FIELD_ENCRYPTION_KEY to what they were, "
            "or enter the keys again in Django admin."
        )
    if count := found["recalls_stopped"]:
        lines.append(
            f"Recalls that were under way when the backup was made: {count}. They are stopped, for what was sent since "
            "is not known here. A worker reads history for their messages; a person decides on the rest."
        )
    audit = found["audit"]
    if audit["problem"]:
        lines.append(f"The audit log is broken: {audit['problem']}.")
    elif "key_problem" in audit:
        lines.append("The audit log cannot be verified: the backup has no signing key, and none is set here.")
    else:
        lines.append(f"The audit log is intact: all of seq {audit['entries']}, head {audit['head']}.")
    return lines
