"""Verifying the log in the database: each entry against its seal, the seals in a chain, all against checkpoints."""

from collections.abc import Callable
from typing import Required, TypedDict

from moderation.audit import verifier
from moderation.audit.ledger import checkpoints, export, signing
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditCheckpoint, AuditEntry, AuditPrivate

Progress = Callable[[int, int], None]
# What reading a row raises in which somebody put what is no time, number or text: SQLite takes anything.
UNREADABLE = (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError)


class Findings(TypedDict, total=False):
    """What is known of the whole log. With a problem, a sentence, there is nothing else; otherwise it is None."""

    problem: Required[str | None]
    entries: int
    head: str
    # A value of `AuditAlarm.Problem`: nobody knows whether the log's checkpoints are genuine, as the key that may have
    # signed them is missing or cannot be used.
    key_problem: str


def verify_log(checkpoints_given: list[verifier.Checkpoint], progress: Progress = lambda _seq, _last: None) -> Findings:
    """Verify the whole log, against every checkpoint at hand and those given.

    `progress` is called with the seq of each entry and the last that there is. Raises django.db.Error, OSError.
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
    """Seal the entries that wait for it. Raises BrokenError."""
    try:
        Sealer().seal()
    except UNREADABLE:
        raise verifier.BrokenError("an entry that waits for its seal cannot be read") from None


def verify_chain(
    checkpoints_given: list[verifier.Checkpoint], progress: Progress
) -> tuple[verifier.Chain, signing.SigningKeyError | None]:
    """The log's chain, and why signatures of checkpoints could not be checked, if so. Raises BrokenError."""
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
