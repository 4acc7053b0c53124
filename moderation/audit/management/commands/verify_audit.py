"""`manage.py verify_audit`: verifies the log in the database (docs/interface.md, "Commands")."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from moderation.audit import verifier
from moderation.audit.events import LogVerified
from moderation.audit.ledger import signing, verification
from moderation.audit.request_context import COMMAND_LINE
from moderation.audit.services import record


def key_message() -> str:
    """The problem of the signing key, and the remedy."""
    try:
        signing.public_key()
    except signing.SigningKeyError as problem:
        return str(problem)
    return "the signing key was missing a moment ago"


class Command(BaseCommand):
    help = (
        "Verifies the audit log in the database: every entry against its seal, the seals against each other, and all "
        "against the checkpoints in the database, in AUDIT_CHECKPOINT_FILE and in the files given. "
        "Exit status: 0 intact; 1 broken, naming the first bad entry; 2 cannot be read, or the signing key is missing. "
        "The finding is recorded."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--checkpoint", action="append", default=[], metavar="F", help="a checkpoint kept elsewhere; repeatable"
        )
        parser.add_argument("--public-key", metavar="F", help="what --checkpoint is signed with; default: our own key")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            given = [verifier.Checkpoint.read(Path(path).read_bytes().decode()) for path in options["checkpoint"]]
            key = None
            if options["public_key"]:
                key = verifier.read_public_key(Path(options["public_key"]).read_bytes().decode())
            for checkpoint in given:
                # A checkpoint with another signature proves nothing about the log.
                checkpoint.check_signature(*(key or (signing.public_key(), "")))
        except signing.SigningKeyError as problem:
            raise CommandError(f"Cannot be verified: {problem}. The log was not looked at.", returncode=2) from None
        except verifier.BrokenError as problem:
            raise CommandError(f"Broken: {problem}. The log was not looked at.", returncode=1) from None
        except (OSError, ValueError) as problem:
            raise CommandError(f"Cannot be read: {problem}", returncode=2) from None
        try:
            findings = verification.verify_log(given)
        except (Error, OSError) as problem:
            raise CommandError(f"Cannot be read: {problem}", returncode=2) from None
        record(LogVerified(actor=COMMAND_LINE, checkpoints=len(given), **findings))
        if findings["problem"]:
            raise CommandError(f"Broken: {findings['problem']}.", returncode=1)
        if "key_problem" in findings:
            raise CommandError(
                f"Cannot be verified: {key_message()}. The entries agree with each other and with the checkpoints "
                f"(all of seq {findings['entries']}, head {findings['head']}); whether the checkpoints are genuine is "
                "unknown.",
                returncode=2,
            )
        self.stdout.write(f"Intact: all of seq {findings['entries']}, head {findings['head']}.")
