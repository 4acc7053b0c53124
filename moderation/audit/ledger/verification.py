"""Verification of the log in the database: entries against their seals, the chain of seals, and checkpoints."""

from collections.abc import Callable
from typing import Required, TypedDict

from moderation.audit import verifier
from moderation.audit.ledger import checkpoints, export, signing
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditCheckpoint, AuditEntry, AuditPrivate

Progress = Callable[[int, int], None]
# Raised by reading a row with a value of a wrong type, which SQLite accepts in any column.
UNREADABLE = (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError)


class Findings(TypedDict, total=False):
    """Result of a verification. `problem` is a message, and then the only key; None for an intact log."""

    problem: Required[str | None]
    entries: int
    head: str
    # A value of `AuditAlarm.Problem`: the signatures of the checkpoints could not be checked, as the key is missing or
    # unusable.
    key_problem: str


def verify_log(checkpoints_given: list[verifier.Checkpoint], progress: Progress = lambda _seq, _last: None) -> Findings:
    """Verify the whole log against the console's checkpoints and those given.

    `progress` is called with the seq of each entry and the last seq. Raises django.db.Error, OSError.
    """
    try:
        seal_waiting()
        chain, key_problem = verify_chain(checkpoints_given, progress)
    except verifier.BrokenError as problem:
        return {"problem": str(problem)}
    findings: Findings = {"entries": chain.seq, "head": chain.hash, "problem": None}
    if key_problem:
        findings["key_problem"] = key_problem.problem
    return findings


def seal_waiting() -> None:
    """Seal the entries that have no seal yet. Raises BrokenError."""
    try:
        Sealer().seal()
    except UNREADABLE:
        raise verifier.BrokenError("an entry that waits for its seal cannot be read") from None


def verify_chain(
    checkpoints_given: list[verifier.Checkpoint], progress: Progress
) -> tuple[verifier.Chain, signing.SigningKeyError | None]:
    """Verify the chain. Returns it, and the error that prevented a check of signatures, if any. Raises BrokenError."""
    notes = AuditCheckpoint.objects.order_by("size").values_list("note", flat=True)
    own = [*map(checkpoints.parse, notes), *filter(None, [checkpoints.read_published()])]
    key_problem = None
    for checkpoint in own:
        try:
            checkpoints.check_signed(checkpoint)
        except signing.SigningKeyError as problem:
            key_problem = problem
    chain = verifier.Chain([*checkpoints_given, *own])
    last = export.last_seq()
    try:
        for entry in export.rows(AuditEntry.objects.all(), until=last):
            chain.add(entry)
            progress(chain.seq, last)
    except UNREADABLE:
        raise verifier.BrokenError(f"seq {first_unreadable(chain.seq, last)}: what is stored cannot be read") from None
    chain.finish()
    for seq in sorted(chain.unexplained):
        if not is_erased(seq):
            raise verifier.BrokenError(f"seq {seq}: its private part is gone, and no entry says that it was erased")
    return chain, key_problem


def first_unreadable(after: int, last: int) -> int:
    """The seq of the first unreadable entry after `after`, found by reading entries one at a time."""
    for seq in range(after + 1, last + 1):
        try:
            for entry in export.rows(AuditEntry.objects.all(), seq - 1, seq):
                verifier.Chain(partial=True).add(entry)
        except UNREADABLE:
            return seq
    return last


def is_erased(seq: int) -> bool:
    """Whether an entry records the erasure of this one's private part. It may have come during the verification."""
    part = AuditPrivate.objects.filter(entry__seal__seq=seq, erasure__action=Action.TEXT_ERASED)
    return any(seq in (detail.get("entries") or ()) for detail in part.values_list("erasure__detail", flat=True))
