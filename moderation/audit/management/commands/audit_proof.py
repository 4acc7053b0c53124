"""`manage.py audit_proof`: an entry and the proof that it is in the log, for somebody who must not see the rest."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from moderation.audit.ledger import checkpoints, export
from moderation.audit.ledger.chain import Sealer
from moderation.audit.ledger.signing import SigningKeyError
from moderation.audit.models import AuditEntry
from moderation.audit.request_context import COMMAND_LINE
from moderation.audit.verifier import BrokenError


class Command(BaseCommand):
    help = (
        "Writes one entry to F.jsonl, and to F the proof that it is in the log (C2SP tlog-proof), under a fresh "
        "checkpoint. `python -m moderation.audit.verifier F.jsonl --proof F --public-key K` verifies it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("seq", type=int, help="the entry's number in the log")
        parser.add_argument("--output", metavar="F", required=True, help="where the proof goes; the entry: F.jsonl")

    def handle(self, *args: Any, **options: Any) -> None:
        Sealer().seal()
        seq, target = options["seq"], options["output"]
        line = "".join(
            export.lines(
                "jsonl",
                AuditEntry.objects.filter(seal__seq=seq),
                actor=COMMAND_LINE,
                filters={"seq": seq},
            )
        )
        if not line:
            raise CommandError(f"There is no entry {seq}.", returncode=2)
        try:
            proof = checkpoints.proof(seq, checkpoints.take())
            export.write_file(Path(f"{target}.jsonl"), [line])
            checkpoints.write_note(Path(target), proof)
        except BrokenError as problem:
            raise CommandError(f"Not signed: {problem}.", returncode=1) from None
        except SigningKeyError as problem:
            raise CommandError(f"Not signed: {problem}.", returncode=2) from None
        except OSError as problem:
            raise CommandError(f"{target}: {problem.strerror}.", returncode=2) from None
