"""`manage.py check_config`: how the console understood its configuration."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.checks import WARNING
from django.core.management.base import BaseCommand, CommandError

from moderation import checks
from moderation.settings import environment


class Command(BaseCommand):
    """Prints every setting as it was read, secrets masked, and what does not fit together."""

    help = (
        "Print every setting as it was understood, with secrets masked, and warn of unknown names and of values that "
        "do not fit together. Exit status: 0 nothing to warn of, 1 warnings; a value that cannot be used stops any "
        "command with a sentence."
    )
    # It must work before anything else does.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON document")

    def handle(self, *, as_json: bool, **options: Any) -> None:
        readings = sorted(environment.readings.values())
        messages = checks.check_configuration()
        if as_json:
            document = {
                "settings": [
                    {"name": each.name, "value": each.shown, "source": each.source, "secret": each.is_secret}
                    for each in readings
                ],
                "messages": [
                    {"id": each.id, "level": type(each).__name__.lower(), "message": each.msg, "hint": each.hint or ""}
                    for each in messages
                ],
            }
            self.stdout.write(json.dumps(document, ensure_ascii=False))
        else:
            width = max(len(each.name) for each in readings)
            for each in readings:
                self.stdout.write(f"{each.name:<{width}}  {each.source:<11}  {each.shown}")
            database = settings.DATABASES["default"]
            self.stdout.write(f"\nDatabase: {database['ENGINE'].rpartition('.')[2]}, {database['NAME']}")
            for message in messages:
                self.stdout.write(f"\n{type(message).__name__}: {message.msg}")
                if message.hint:
                    self.stdout.write(f"  {message.hint}")
        if any(message.is_serious(WARNING) for message in messages):
            raise CommandError("The configuration has warnings.", returncode=1)
