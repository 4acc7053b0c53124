"""Checkpoints: signed statements of how the log stands, for keeping where the console cannot write.

The form is C2SP tlog-checkpoint, the tree RFC 6962's over the seals' hashes (`audit.verifier` says how). Nothing is
signed that contradicts the checkpoint before.
"""

import base64
import logging
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import requests
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from moderation.audit.ledger import chain
from moderation.audit.ledger.export import as_json, write_file
from moderation.audit.ledger.signing import private_key, public_key, trusted_keys
from moderation.audit.models import AuditCheckpoint, AuditSeal
from moderation.audit.verifier import ORIGIN, PROOF, BrokenError, Checkpoint, Tree

log = logging.getLogger(__name__)

HASHES_AT_ONCE = 5_000
# Seconds to connect to AUDIT_CHECKPOINT_URL, and for its answer.
TIMEOUT = (5, 10)


class NothingToSign(Exception):
    """The log is empty: it has no name yet."""


class NotPublished(Exception):
    """A checkpoint could not be written to one of the places where it is to be kept."""


def check_signed(checkpoint: Checkpoint) -> None:
    """Raise BrokenError unless this console has signed it, with its key or one of AUDIT_FORMER_PUBLIC_KEYS.

    Raises SigningKeyError if the key that may have signed it is missing.
    """
    marks = {(name, mark[:4]) for name, mark in checkpoint.signatures}
    for key in trusted_keys():
        if (checkpoint.origin, Checkpoint.key_id(checkpoint.origin, key)) in marks:
            checkpoint.check_signature(key)
            return
    public_key()
    raise BrokenError(
        f"the checkpoint of {checkpoint.size} is signed with a key that is neither this console's nor in "
        "AUDIT_FORMER_PUBLIC_KEYS"
    )


def verifier_key(origin: str) -> str:
    """The public key as others take it for this log (C2SP signed-note): name+id+Base64."""
    key = public_key()
    return f"{origin}+{Checkpoint.key_id(origin, key).hex()}+{base64.b64encode(bytes([1]) + key).decode()}"


def sign(origin: str, size: int, root: bytes) -> str:
    """The signed note of a log of `size` entries with this root."""
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    signature = Checkpoint.key_id(origin, public_key()) + private_key().sign(text.encode())
    return f"{text}\n— {origin} {base64.b64encode(signature).decode()}\n"


def hashes(after: int, until: int) -> Iterable[bytes]:
    """The hashes of the seals beyond seq `after` up to seq `until`, in order. Raises BrokenError if one is missing."""
    while after < until:
        page = AuditSeal.objects.filter(seq__gt=after, seq__lte=min(after + HASHES_AT_ONCE, until)).order_by("seq")
        for seq, hash_ in list(page.values_list("seq", "hash")) or [(0, "")]:
            if seq != after + 1:
                raise BrokenError(f"seq {after + 1}: its seal is missing")
            yield bytes.fromhex(hash_)
            after = seq


def grown(tree: Tree, until: int) -> Tree:
    """`tree` with the seals after those it has, up to seq `until`."""
    for hash_ in hashes(tree.size, until):
        tree.append(hash_)
    return tree


def take() -> AuditCheckpoint:
    """The checkpoint of every entry that is sealed by now: the last one if nothing came since, else a new one.

    Raises NothingToSign, SigningKeyError, and BrokenError if the log contradicts the last checkpoint, in the database
    or in AUDIT_CHECKPOINT_FILE.
    """
    last: AuditCheckpoint | None = AuditCheckpoint.objects.order_by("-size").first()
    if published := read_published():
        check_signed(published)
    # Read after these: another process may sign meanwhile what is sealed meanwhile.
    seq, hash_ = chain.head()
    if not seq:
        if before := published or last:
            raise BrokenError(f"seq 1: missing; a checkpoint covers {before.size} entries")
        raise NothingToSign
    origin = ORIGIN + next(iter(hashes(0, 1))).hex()[:16]
    tree = Tree()
    if last:
        agrees(signed(parse(last.note)), origin, last, seq)
        tree = tree_of(last)
    if published:
        row = AuditCheckpoint.objects.filter(size=published.size).first()
        agrees(published, origin, row, seq)
    if last and last.size == seq:
        return last
    root = grown(tree, seq).root()
    row = AuditCheckpoint(
        size=seq,
        root=root.hex(),
        head=hash_,
        frontier=[node.hex() for node in tree.nodes],
        note=sign(origin, seq, root),
        at=timezone.now(),
    )
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        # Another process signed the same.
        row = AuditCheckpoint.objects.get(size=seq)
    return row


def agrees(checkpoint: Checkpoint, origin: str, row: AuditCheckpoint | None, seq: int) -> None:
    """Raise BrokenError unless the log, now `seq` entries long, begins with what `checkpoint` covers.

    With the `row` of the same size only the hash up to which it went is looked at, which depends on all before;
    without one the tree is computed anew.
    """
    if checkpoint.origin != origin:
        raise BrokenError(f"seq 1: a checkpoint is of another log, {checkpoint.origin}")
    if checkpoint.size > seq:
        raise BrokenError(f"seq {seq + 1}: missing; a checkpoint covers {checkpoint.size} entries")
    if row:
        (last_hash,) = hashes(row.size - 1, row.size)
        same = (last_hash.hex(), row.root, row.size) == (row.head, checkpoint.root.hex(), checkpoint.size)
        same = same and tree_of(row).root() == checkpoint.root
    else:
        same = grown(Tree(), checkpoint.size).root() == checkpoint.root
    if not same:
        raise BrokenError(
            f"seq 1 to {checkpoint.size}: not the entries that the checkpoint of {checkpoint.size} covers"
        )


def tree_of(row: AuditCheckpoint) -> Tree:
    """The tree as it was at a checkpoint. Raises BrokenError."""
    try:
        tree = Tree(row.size, [bytes.fromhex(node) for node in row.frontier])
    except (TypeError, ValueError):
        tree = Tree()
    # As many full subtrees as the size has ones (RFC 6962, 2.1).
    if len(tree.nodes) != row.size.bit_count():
        raise BrokenError(f"the checkpoint of {row.size} in the database was changed: its subtrees are none")
    return tree


def parse(note: str) -> Checkpoint:
    """A note out of the database, whoever has signed it. Raises BrokenError."""
    try:
        return Checkpoint.read(note)
    except ValueError:
        raise BrokenError("a checkpoint in the database was changed: it cannot be read") from None


def signed(checkpoint: Checkpoint) -> Checkpoint:
    """`checkpoint`, after `check_signed()`."""
    check_signed(checkpoint)
    return checkpoint


def read_published() -> Checkpoint | None:
    """What AUDIT_CHECKPOINT_FILE holds, whoever has signed it; None if there is none. Raises OSError, BrokenError."""
    if not settings.AUDIT_CHECKPOINT_FILE:
        return None
    path = Path(settings.AUDIT_CHECKPOINT_FILE)
    try:
        return Checkpoint.read(path.read_bytes().decode())
    except FileNotFoundError:
        return None
    except ValueError as problem:
        raise BrokenError(f"{path}: {problem}") from None


def is_due() -> bool:
    """Whether entries were sealed since the last checkpoint and that is old enough (AUDIT_CHECKPOINT_MINUTES)."""
    last = AuditCheckpoint.objects.order_by("-size").only("size", "at").first()
    if last and timezone.now() - last.at < timedelta(minutes=settings.AUDIT_CHECKPOINT_MINUTES):
        return False
    return chain.head()[0] > (last.size if last else 0)


def keep_up(unpublished: str) -> str:
    """One round of the worker: sign a checkpoint if one is due, and publish it or the one that is `unpublished` yet.

    Returns what is still to be published, empty for none. Raises as `take` does, SigningKeyError also when none is due.
    """
    private_key()
    if is_due():
        unpublished = take().note
    if unpublished:
        try:
            publish(unpublished)
        except NotPublished as problem:
            log.warning("a checkpoint of the audit log was not published: %s; trying again", problem)
            return unpublished
    return ""


def publish(note: str) -> None:
    """Write a checkpoint wherever the settings say. Raises NotPublished after having tried everywhere."""
    problems = []
    if settings.AUDIT_CHECKPOINT_FILE:
        try:
            path = Path(settings.AUDIT_CHECKPOINT_FILE)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_note(path, note)
        except OSError as problem:
            problems.append(f"{settings.AUDIT_CHECKPOINT_FILE}: {problem.strerror}")
    if settings.AUDIT_CHECKPOINT_STDOUT:
        # One line, as log collectors cut at its end.
        sys.stdout.write(as_json({"audit_checkpoint": note}) + "\n")
        sys.stdout.flush()
    if settings.AUDIT_CHECKPOINT_URL:
        try:
            answer = requests.post(
                settings.AUDIT_CHECKPOINT_URL,
                data=note.encode(),
                headers={"Content-Type": "text/plain; charset=utf-8"},
                timeout=TIMEOUT,
                allow_redirects=False,
            )
            if not 200 <= answer.status_code < 300:
                problems.append(f"AUDIT_CHECKPOINT_URL: it answered {answer.status_code}")
        except requests.RequestException as problem:
            # Its text may hold the address, and that a token.
            problems.append(f"AUDIT_CHECKPOINT_URL: {type(problem).__name__}")
    if problems:
        raise NotPublished("; ".join(problems))


def write_note(path: Path, text: str) -> None:
    """Replace the file by what was signed, for everybody to read. Raises OSError."""
    write_file(path, [text], 0o644)


def proof(seq: int, checkpoint: AuditCheckpoint) -> str:
    """That entry `seq` is among those of `checkpoint`, as a C2SP tlog-proof. Raises BrokenError."""
    path = audit_path(seq - 1, 0, checkpoint.size)
    lines = [PROOF, f"index {seq - 1}", *(base64.b64encode(node).decode() for node in path)]
    return "\n".join(lines) + f"\n\n{checkpoint.note}"


def audit_path(index: int, start: int, end: int) -> list[bytes]:
    """What RFC 6962, 2.1.1, calls so, of the leaf at `index` among those from `start` to before `end`."""
    if end - start == 1:
        return []
    middle = start + (1 << (end - start - 1).bit_length() - 1)
    mine, other = ((start, middle), (middle, end)) if index < middle else ((middle, end), (start, middle))
    sibling = Tree()
    for hash_ in hashes(*other):
        sibling.append(hash_)
    return [*audit_path(index, *mine), sibling.root()]
