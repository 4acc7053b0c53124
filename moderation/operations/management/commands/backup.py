"""`manage.py backup`: everything that is needed to restore the console, in one file."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from moderation.operations import backup, databases, passphrase
from moderation.operations.container import BackupError


class Command(BaseCommand):
    help = (
        "Writes the database, the signing key and checkpoint of the audit log, and a fingerprint of the settings to "
        "FILE, which only its owner can read, while the console runs. With a passphrase the file is encrypted. It does "
        "not contain .env. Exit status: 0 written; 2 not written."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="file to write; it must not exist")
        passphrase.add_arguments(parser)
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, **options: Any) -> None:
        path = Path(options["file"]).absolute()
        try:
            secret = passphrase.read(options["passphrase_file"], ask=options["ask_passphrase"], is_new=True)
            made = backup.create(path, secret)
        except BackupError as problem:
            raise CommandError(str(problem), returncode=2) from None
        except OSError as problem:
            raise CommandError(f"{problem.filename or path}: {problem.strerror}.", returncode=2) from None
        except Error as problem:
            raise CommandError(f"The database cannot be read: {problem}", returncode=2) from None
        for warning in made["warnings"]:
            self.stderr.write(warning)
        if not secret:
            key = " and the signing key" if "public_key" in made["audit"] else ""
            self.stderr.write(f"Not encrypted: anybody who can read the file has the messages{key}.")
        size = path.stat().st_size
        entries = made["audit"]["entries"]
        if options["json"]:
            document = {
                "file": str(path),
                "bytes": size,
                "encrypted": bool(secret),
                "made_at": made["made_at"],
                "engine": made["engine"],
                "entries": entries,
                "warnings": made["warnings"],
            }
            self.stdout.write(json.dumps(document, ensure_ascii=False))
            return
        engine = databases.NAMES[made["engine"]]
        self.stdout.write(f"Written: {path} ({engine}, {size:,} bytes, audit log up to seq {entries}).")
