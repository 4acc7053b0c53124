"""Verifying the log in the database: each entry against its seal, the seals in a chain, all against checkpoints."""

from collections.abc import Callable
from typing import Any

from moderation.audit import checkpoints, export, signing, verifier
from moderation.audit.chain import Sealer
from moderation.audit.models import Action, AuditCheckpoint, AuditEntry, AuditPrivate

Progress = Callable[[int, int], None]
# What reading a row raises in which somebody put what is no time, number or text: SQLite takes anything.
UNREADABLE = (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError)


def find(given: list[verifier.Checkpoint], progress: Progress = lambda _seq, _last: None) -> dict[str, Any]:
    """What there is to say of the whole log: {"entries", "head", "problem": None}, or {"problem": a sentence}.

    With the first, "key_problem" (a value of `AuditAlarm.Problem`) says that nobody knows whether its checkpoints are
    genuine: the key that may have signed them is missing or cannot be used. The log is held against every checkpoint at
    hand, those `given` too; `progress` is called with the seq of each entry and the last that there is. Raises
    django.db.Error, OSError.
    """
    try:
        seal()
        found, key_problem = verify(given, progress)
    except verifier.BrokenError as problem:
        return {"problem": str(problem)}
    told = {"entries": found.seq, "head": found.hash, "problem": None}
    return {**told, "key_problem": key_problem.problem} if key_problem else told


def seal() -> None:
    """Seal what waits. Raises BrokenError."""
    try:
        Sealer().seal()
    except UNREADABLE:
        raise verifier.BrokenError("an entry that waits for its seal cannot be read") from None


def verify(
    given: list[verifier.Checkpoint], progress: Progress
) -> tuple[verifier.Chain, signing.SigningKeyError | None]:
    """The log's chain, and why signatures of checkpoints could not be checked, if so. Raises BrokenError."""
    notes = AuditCheckpoint.objects.order_by("size").values_list("note", flat=True)
    known = [*map(checkpoints.parse, notes), *filter(None, [checkpoints.read_published()])]
    key_problem = None
    for checkpoint in known:
        try:
            checkpoints.check_signed(checkpoint)
        except signing.SigningKeyError as problem:
            key_problem = problem
    found = verifier.Chain([*given, *known])
    last = export.last_seq()
    try:
        for entry in export.rows(AuditEntry.objects.all(), until=last):
            found.add(entry)
            progress(found.seq, last)
    except UNREADABLE:
        raise verifier.BrokenError(f"seq {first_unreadable(found.seq, last)}: what is stored cannot be read") from None
    found.finish()
    for seq in sorted(found.gone):
        if not is_erased(seq):
            raise verifier.BrokenError(f"seq {seq}: its private part is gone, and no entry says that it was erased")
    return found, key_problem


def first_unreadable(after: int, last: int) -> int:
    """The seq, beyond `after`, of the first entry that cannot be read; they are read many at a time."""
    for seq in range(after + 1, last + 1):
        try:
            for entry in export.rows(AuditEntry.objects.all(), seq - 1, seq):
                verifier.Chain(partial=True).add(entry)
        except UNREADABLE:
            return seq
    return last


def is_erased(seq: int) -> bool:
    """Whether an entry says that the private part of this one was erased, maybe one that came while it was verified."""
    part = AuditPrivate.objects.filter(entry__seal__seq=seq, erasure__action=Action.TEXT_ERASED)
    return any(seq in (detail.get("entries") or ()) for detail in part.values_list("erasure__detail", flat=True))
