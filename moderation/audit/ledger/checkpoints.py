"""Checkpoints: signed notes of the log's size and root hash, to be kept where the console cannot write.

The format is C2SP tlog-checkpoint, over the RFC 6962 tree of the seals' hashes (explained in `audit.verifier`). A log
that contradicts its previous checkpoint is not signed.
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
# Seconds to connect to AUDIT_CHECKPOINT_URL, and to wait for its answer.
TIMEOUT = (5, 10)


class NothingToSign(Exception):
    """The log is empty. Its name depends on the first entry."""


class NotPublished(Exception):
    """A checkpoint could not be published to one of the configured places."""


def check_signed(checkpoint: Checkpoint) -> None:
    """Raise BrokenError unless the checkpoint is signed with our key or one of AUDIT_FORMER_PUBLIC_KEYS.

    Raises SigningKeyError if our key is missing, which may have signed it.
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
    """The public key in the format of C2SP signed-note: name+id+Base64."""
    key = public_key()
    return f"{origin}+{Checkpoint.key_id(origin, key).hex()}+{base64.b64encode(bytes([1]) + key).decode()}"


def sign(origin: str, size: int, root: bytes) -> str:
    """Sign a log of `size` entries with this root. Returns the note."""
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    signature = Checkpoint.key_id(origin, public_key()) + private_key().sign(text.encode())
    return f"{text}\n— {origin} {base64.b64encode(signature).decode()}\n"


def hashes(after: int, until: int) -> Iterable[bytes]:
    """Hashes of the seals beyond seq `after` up to `until`, in order. Raises BrokenError if one is missing."""
    while after < until:
        page = AuditSeal.objects.filter(seq__gt=after, seq__lte=min(after + HASHES_AT_ONCE, until)).order_by("seq")
        for seq, hash_ in list(page.values_list("seq", "hash")) or [(0, "")]:
            if seq != after + 1:
                raise BrokenError(f"seq {after + 1}: its seal is missing")
            yield bytes.fromhex(hash_)
            after = seq


def extended(tree: Tree, until: int) -> Tree:
    """Append the following seals to `tree`, up to seq `until`, and return it."""
    for hash_ in hashes(tree.size, until):
        tree.append(hash_)
    return tree


def take() -> AuditCheckpoint:
    """The checkpoint of all sealed entries: the last one if there are no new entries, otherwise a new one.

    Raises NothingToSign, SigningKeyError, and BrokenError if the log contradicts the last checkpoint, in the database
    or in AUDIT_CHECKPOINT_FILE.
    """
    last: AuditCheckpoint | None = AuditCheckpoint.objects.order_by("-size").first()
    if published := read_published():
        check_signed(published)
    # Read the head after the checkpoints: another process may seal and sign in between.
    seq, hash_ = chain.head()
    if not seq:
        if before := published or last:
            raise BrokenError(f"seq 1: missing; a checkpoint covers {before.size} entries")
        raise NothingToSign
    origin = ORIGIN + next(iter(hashes(0, 1))).hex()[:16]
    tree = Tree()
    if last:
        check_consistent(checked(parse(last.note)), origin, last, seq)
        tree = tree_of(last)
    if published:
        row = AuditCheckpoint.objects.filter(size=published.size).first()
        check_consistent(published, origin, row, seq)
    if last and last.size == seq:
        return last
    root = extended(tree, seq).root()
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
        # Another process has signed the same size.
        row = AuditCheckpoint.objects.get(size=seq)
    return row


def check_consistent(checkpoint: Checkpoint, origin: str, row: AuditCheckpoint | None, seq: int) -> None:
    """Raise BrokenError unless the log, now `seq` entries long, begins with what `checkpoint` covers.

    If there is a `row` of the same size, only the last hash is compared, which depends on all previous ones. Otherwise
    the tree is computed from the start.
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
        same = extended(Tree(), checkpoint.size).root() == checkpoint.root
    if not same:
        raise BrokenError(
            f"seq 1 to {checkpoint.size}: not the entries that the checkpoint of {checkpoint.size} covers"
        )


def tree_of(row: AuditCheckpoint) -> Tree:
    """The tree at the time of a checkpoint. Raises BrokenError."""
    try:
        tree = Tree(row.size, [bytes.fromhex(node) for node in row.frontier])
    except (TypeError, ValueError):
        tree = Tree()
    # There is a full subtree for each binary 1 of the size (RFC 6962, 2.1).
    if len(tree.nodes) != row.size.bit_count():
        raise BrokenError(f"the checkpoint of {row.size} in the database was changed: its subtrees are none")
    return tree


def parse(note: str) -> Checkpoint:
    """Parse a note from the database, without checking its signature. Raises BrokenError."""
    try:
        return Checkpoint.read(note)
    except ValueError:
        raise BrokenError("a checkpoint in the database was changed: it cannot be read") from None


def checked(checkpoint: Checkpoint) -> Checkpoint:
    """Return `checkpoint` after `check_signed()`."""
    check_signed(checkpoint)
    return checkpoint


def read_published() -> Checkpoint | None:
    """Parse AUDIT_CHECKPOINT_FILE, without checking the signature; None without a file. Raises OSError, BrokenError."""
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
    """Whether there are new seals and the last checkpoint is older than AUDIT_CHECKPOINT_MINUTES."""
    last = AuditCheckpoint.objects.order_by("-size").only("size", "at").first()
    if last and timezone.now() - last.at < timedelta(minutes=settings.AUDIT_CHECKPOINT_MINUTES):
        return False
    return chain.head()[0] > (last.size if last else 0)


def sign_and_publish(unpublished: str) -> str:
    """One round of the worker: sign a checkpoint if one is due, and publish it, or the `unpublished` one.

    Returns the note that is still unpublished, or "". Raises like `take`, and SigningKeyError even if none is due.
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
    """Publish a checkpoint to every configured place. Raises NotPublished after having tried them all."""
    problems = []
    if settings.AUDIT_CHECKPOINT_FILE:
        try:
            path = Path(settings.AUDIT_CHECKPOINT_FILE)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_note(path, note)
        except OSError as problem:
            problems.append(f"{settings.AUDIT_CHECKPOINT_FILE}: {problem.strerror}")
    if settings.AUDIT_CHECKPOINT_STDOUT:
        # Log collectors take each line as a record.
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
            # The message may contain the URL with a token.
            problems.append(f"AUDIT_CHECKPOINT_URL: {type(problem).__name__}")
    if problems:
        raise NotPublished("; ".join(problems))


def write_note(path: Path, text: str) -> None:
    """Replace a file by a signed note, readable by everybody. Raises OSError."""
    write_file(path, [text], 0o644)


def proof(seq: int, checkpoint: AuditCheckpoint) -> str:
    """Proof that the checkpoint includes entry `seq`, as a C2SP tlog-proof. Raises BrokenError."""
    path = audit_path(seq - 1, 0, checkpoint.size)
    lines = [PROOF, f"index {seq - 1}", *(base64.b64encode(node).decode() for node in path)]
    return "\n".join(lines) + f"\n\n{checkpoint.note}"


def audit_path(index: int, start: int, end: int) -> list[bytes]:
    """Audit path (RFC 6962, 2.1.1) of the leaf at `index` in the tree of the leaves from `start` to before `end`."""
    if end - start == 1:
        return []
    middle = start + (1 << (end - start - 1).bit_length() - 1)
    mine, other = ((start, middle), (middle, end)) if index < middle else ((middle, end), (start, middle))
    sibling = Tree()
    for hash_ in hashes(*other):
        sibling.append(hash_)
    return [*audit_path(index, *mine), sibling.root()]
