"""`manage.py rotate_keys`: encrypt the stored keys again (docs/operations.md, "Changing keys")."""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from moderation.applications.key_rotation import rotate
from moderation.audit.request_context import COMMAND_LINE


class Command(BaseCommand):
    help = (
        "Encrypts the keys in the database anew with FIELD_ENCRYPTION_KEY (or SECRET_KEY while it is empty), after it "
        "was changed and the former value put into FIELD_ENCRYPTION_KEY_FALLBACKS. It can be run again at any time. "
        "Exit status: 0 every stored key is encrypted with it; 1 some could not be opened and were left as they are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, **options: Any) -> None:
        done = rotate(actor=COMMAND_LINE)
        if options["json"]:
            self.stdout.write(json.dumps(asdict(done)))
        else:
            self.stdout.write(f"Encrypted anew: {done.rotated}. Already up to date: {done.current}.")
        if done.unreadable:
            self.stderr.write(
                f"Could not be opened and left as they are: {done.unreadable}, of {', '.join(done.unreadable_in)}. Put "
                "the key that encrypted them into FIELD_ENCRYPTION_KEY_FALLBACKS, or enter them again in Django admin."
            )
            sys.exit(1)
