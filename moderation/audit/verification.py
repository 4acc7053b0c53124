"""Verifying the log in the database: each entry against its seal, the seals in a chain, all against checkpoints."""

from collections.abc import Callable
from typing import Any

from moderation.audit import checkpoints, export, verifier
from moderation.audit.chain import Sealer
from moderation.audit.models import AuditCheckpoint, AuditEntry

Progress = Callable[[int, int], None]


def find(given: list[verifier.Checkpoint], progress: Progress = lambda _seq, _last: None) -> dict[str, Any]:
    """What there is to say of the whole log: {"entries", "head", "problem": None}, or {"problem": a sentence}.

    It is held against every checkpoint at hand, those `given` too; `progress` is called with the seq of each entry
    and the last that there is. Raises django.db.Error, OSError.
    """
    try:
        Sealer().seal()
        found = verify(given, progress)
    except verifier.BrokenError as problem:
        return {"problem": str(problem)}
    return {"entries": found.seq, "head": found.hash, "problem": None}


def verify(given: list[verifier.Checkpoint], progress: Progress) -> verifier.Chain:
    """The log's chain. Raises BrokenError."""
    notes = AuditCheckpoint.objects.order_by("size").values_list("note", flat=True)
    known = [*given, *map(checkpoints.read_stored, notes)]
    if published := checkpoints.read_published():
        known.append(published)
    found = verifier.Chain(known)
    last = export.last_seq()
    for entry in export.rows(AuditEntry.objects.all(), until=last):
        found.add(entry)
        progress(found.seq, last)
    found.finish()
    return found
