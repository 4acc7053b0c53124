"""`manage.py audit_format`: writes docs/audit-format.md."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from moderation.audit import format_document


class Command(BaseCommand):
    help = "Writes docs/audit-format.md from the event classes. Exit status of --check: 1 if the file is another."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; say which events differ")

    def handle(self, *args: Any, **options: Any) -> None:
        path = format_document.PATH
        if not options["check"]:
            path.write_text(format_document.document(), encoding="utf-8")
            self.stderr.write(f"{path} is written.")
            return
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if problems := list(format_document.differences(text)):
            raise CommandError("\n".join(problems))
