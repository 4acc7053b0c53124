"""`manage.py audit_checkpoint`: a signed checkpoint of the log as it stands (docs/interface.md, "Commands")."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from moderation.audit.ledger import checkpoints
from moderation.audit.ledger.chain import Sealer
from moderation.audit.ledger.signing import SigningKeyError
from moderation.audit.verifier import BrokenError, Checkpoint


class Command(BaseCommand):
    help = (
        "Signs a checkpoint of the audit log and writes it to stdout. The public key, with which it is verified, "
        "goes to stderr. Exit status: 1 when the log contradicts an earlier checkpoint, 2 when nothing can be signed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--output", metavar="F", help="file to write, replaced at once; default: stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        Sealer().seal()
        try:
            note = checkpoints.take().note
            key = checkpoints.verifier_key(Checkpoint.read(note).origin)
            if options["output"]:
                checkpoints.write_note(Path(options["output"]), note)
        except BrokenError as problem:
            raise CommandError(f"Not signed: {problem}.", returncode=1) from None
        except SigningKeyError as problem:
            raise CommandError(f"Not signed: {problem}.", returncode=2) from None
        except checkpoints.NothingToSign:
            raise CommandError("Not signed: the log is empty.", returncode=2) from None
        except OSError as problem:
            raise CommandError(f"{problem.filename}: {problem.strerror}.", returncode=2) from None
        self.stderr.write(f"Public key: {key}")
        if not options["output"]:
            self.stdout.write(note, ending="")
