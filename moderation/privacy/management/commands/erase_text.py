"""`manage.py erase_text`: erase a sender's text, through the same service as the page."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any, NoReturn

from django.core.management.base import BaseCommand
from django.db.models import BigIntegerField

from moderation.accounts.models import User
from moderation.applications.models import Application
from moderation.privacy import erasure
from recall.models import MAX_TIMESTAMPS
from recall.services import NotPossible

NOT_POSSIBLE, BAD_INPUT = 1, 2


class Command(BaseCommand):
    """Erase the text of one sender's messages."""

    help = (
        "Erase what a sender wrote in an application: its text in the archive, in evidence of recalls, in webhook "
        "deliveries, and recorded searches for the sender. The audit log tells of it and stays whole. Exit status: "
        "0 erased, or a dry run; 1 nothing was erased (a hold, or nothing there); 2 bad input."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--app", default="default", help="the application's short name (default: default)")
        parser.add_argument("--sender", required=True, help="the sender's id")
        parser.add_argument("--actor", required=True, help="user name of who decides: an admin")
        parser.add_argument("--reason", required=True, help="a code or the request's reference; stays in the log")
        parser.add_argument("--with-notes", action="store_true", help="also notes about recalls of these messages")
        parser.add_argument("--dry-run", action="store_true", help="count what would be erased")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
        parser.add_argument("timestamps", nargs="*", type=int, metavar="TIMESTAMP", help="only these messages (ms)")

    def handle(self, **options: Any) -> None:
        actor = User.objects.filter(username=options["actor"], is_active=True).first()
        application = Application.objects.filter(slug=options["app"]).first()
        if actor is None or not actor.has_perm("archive.erase_text"):
            self.fail(f"--actor: nobody named “{options['actor']}” may erase text.", BAD_INPUT)
        if application is None:
            self.fail(f"--app: there is no application “{options['app']}”.", BAD_INPUT)
        if not 0 < len(options["reason"].strip()) <= erasure.MAX_REASON_LENGTH:
            self.fail(f"--reason: write 1 to {erasure.MAX_REASON_LENGTH} characters.", BAD_INPUT)
        if len(options["timestamps"]) > MAX_TIMESTAMPS:
            self.fail(f"At most {MAX_TIMESTAMPS} timestamps at once.", BAD_INPUT)
        for value in options["timestamps"]:
            if not 0 <= value <= BigIntegerField.MAX_BIGINT:
                self.fail(f"“{value}” is no timestamp: milliseconds since 1970 have 13 digits.", BAD_INPUT)
        request = erasure.ErasureRequest(application, options["sender"], set(options["timestamps"]))
        with_notes = options["with_notes"]
        try:
            if options["dry_run"]:
                scope = erasure.scope_of(request)
                if problem := erasure.problem_of(scope, with_notes=with_notes):
                    raise problem
                counts = scope.counts(with_notes=with_notes)
            else:
                reason = options["reason"].strip()
                counts = erasure.erase(request, actor=actor.get_username(), reason=reason, with_notes=with_notes)
        except NotPossible as refusal:
            self.fail(str(refusal.message), NOT_POSSIBLE)
        if options["json"]:
            self.stdout.write(json.dumps({"erased": not options["dry_run"], **counts}))
            return
        summary = ", ".join(f"{number} {name}" for name, number in counts.items())
        self.stdout.write(f"{'Would be erased' if options['dry_run'] else 'Erased'}: {summary}.")

    def fail(self, message: str, status: int) -> NoReturn:
        """Write why nothing was erased to standard error, and exit."""
        self.stderr.write(message)
        sys.exit(status)
