"""Verifies an export of the moderation console's audit log, without the console and without its database.

It is one file, needs Python 3.11 or later and the package `cryptography`, and is meant to be read before it is trusted:

    python verifier.py EXPORT.jsonl --checkpoint CHECKPOINT --public-key KEY

Exit status: 0 intact; 1 broken, naming the first bad entry; 2 what was given cannot be read.

What a log consists of
----------------------
An export has one entry a line, a JSON object. Its keys are those of FIELDS below.

-   `seq` numbers the entries from 1, without a gap.
-   `hash` is the SHA-256 of the entry in its canonical form (RFC 8785; half of a surrogate pair counts as a character),
    without `hash` itself and without `private`.
-   `prev_hash` is the `hash` of the entry before, and so part of what is hashed: whoever changes, inserts or removes an
    entry has to make every later hash anew. The first entry's is FIRST_PREV_HASH.
-   `private` is free text about people, with a salt. It may have to be erased, and is null then. `detail.private` holds
    the SHA-256 of its canonical form: the chain stays as it is when the text goes. An entry `text.erased` names in
    `detail.entries` the entries whose text it erased.
-   `schema` is the version of the format. Version 1 had no such key. Every version that was ever written is read.

The hashes are also the leaves of a Merkle tree (RFC 6962, 2.1). A checkpoint is a note of the tree's size and root that
the console has signed with Ed25519 (C2SP tlog-checkpoint). Kept where the console cannot write, it shows whether the
log begins with the entries that it began with then, even if all hashes were made anew. A proof (C2SP tlog-proof) shows
of a single entry that it is in the tree of a checkpoint.

How to read this file
---------------------
From the end: `main` reads the arguments, `verify` does what they ask for. `read_export` turns lines into entries,
`Chain.add` checks one entry after the other, `Tree` computes roots, `Checkpoint` reads and checks signed notes, and
`check_proof` checks the proof of one entry. `load` and `canonical` are JSON as it is hashed.
"""

import argparse
import json
import re
import sys
from base64 import b64decode
from collections.abc import Iterable, Iterator
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FIRST_PREV_HASH = "0" * 64
# A log's name: this, and the first 16 digits of its first entry's hash.
ORIGIN = "moderation-console/"
# The first line of a proof.
PROOF = "c2sp.org/tlog-proof@v1"

NULL = type(None)
# What each key of an entry may hold. A number beyond 2^53 - 1 is written as text.
FIELDS: dict[str, tuple[type, ...]] = {
    "seq": (int,),
    "at": (str,),
    "actor": (str,),
    "action": (str,),
    "app": (str, NULL),
    "conversation": (dict, NULL),
    "recall": (str, NULL),
    "batch": (int, NULL),
    "attempt": (int, NULL),
    "timestamps": (list, NULL),
    "request": (dict, NULL),
    "http_status": (int, NULL),
    "response_code": (int, str, NULL),
    "response_content": (str, NULL),
    "latency_ms": (int, str, NULL),
    "detail": (dict,),
    "prev_hash": (str,),
    "hash": (str,),
    "schema": (int,),
    "private": (dict, NULL),
}
TYPE_NAMES = {int: "a whole number", str: "a string", dict: "an object", list: "a list"}
# The keys of an entry in each version of the format.
VERSIONS = {1: FIELDS.keys() - {"schema"}, 2: FIELDS.keys()}
# Keys that an entry's hash does not cover.
NOT_HASHED = frozenset({"hash", "private"})

MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_LEVELS = 200
MAX_INTEGER = 2**53 - 1
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

is_hash = re.compile("[0-9a-f]{64}").fullmatch


class UnreadableError(ValueError):
    """The input is not a valid export, checkpoint, proof or key."""


class BrokenError(Exception):
    """The input is readable, but was changed."""


# JSON as it is hashed


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise UnreadableError("a key occurs twice in one object")
    return values


def _integer(digits: str) -> int:
    # Check the length first, as Python refuses to convert thousands of digits.
    if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER:
        raise UnreadableError("a number is beyond 2^53 - 1")
    return int(digits)


# Fractions become Decimal, which the fast encoder rejects. NaN and Infinity go to `_integer`, which rejects them.
_decode = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=Decimal, parse_constant=_integer
).decode
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False).encode


def load(text: str, levels: int = MAX_LEVELS) -> Any:
    """Parse a JSON text.

    Raises UnreadableError: invalid JSON, a duplicate key, a number beyond 2^53 - 1, more nesting than `levels`.
    """
    # A text with few brackets cannot be nested deeply.
    if text.count("[") + text.count("{") > levels and _depth(text) > levels:
        raise UnreadableError(f"it nests deeper than {levels} levels")
    try:
        return _decode(text)
    except (json.JSONDecodeError, ArithmeticError) as problem:
        raise UnreadableError(f"it is not JSON ({problem})") from None


def _depth(text: str) -> int:
    """Number of levels of objects and lists in a JSON text."""
    brackets = re.sub(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^][{}]', "", text)
    depth = deepest = 0
    for bracket in brackets:
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def canonical(value: Any) -> bytes:
    """Canonical form (RFC 8785) of a value that `load` returned."""
    try:
        text = _encode(value)
    except TypeError:
        # It contains a fraction.
        text = _encode_slowly(value)
    else:
        # The fast encoder sorts keys by code points, RFC 8785 by UTF-16 units. The orders differ only if there are
        # characters of two units.
        has_pairs = len(text.encode("utf-16-le", "surrogatepass")) > 2 * len(text)
        if has_pairs:
            text = _encode_slowly(value)
    return text.encode("utf-8", "surrogatepass")


def _encode_slowly(value: Any) -> str:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join([f"{_encode(name)}:{_encode_slowly(value[name])}" for name in names]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([_encode_slowly(item) for item in value]) + "]"
    if isinstance(value, Decimal):
        return _encode_fraction(float(value))
    return _encode(value)


def _encode_fraction(number: float) -> str:
    """A number in ECMAScript's format: the shortest digits, positional from 1e-6 up to 1e21."""
    if abs(number) == float("inf"):
        raise UnreadableError("a number is too great")
    if number == 0:
        return "0"
    digits = Decimal(repr(number)).normalize()
    return f"{digits:f}" if 1e-6 <= abs(number) < 1e21 else f"{digits:e}"


def entry_hash(entry: dict[str, Any]) -> str:
    """Compute the hash of an entry; its own `hash` is ignored."""
    hashed = {key: value for key, value in entry.items() if key not in NOT_HASHED}
    return sha256(canonical(hashed)).hexdigest()


# The tree over the entries' hashes


def _leaf(hash_: bytes) -> bytes:
    return sha256(b"\x00" + hash_).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """A growing Merkle tree. `nodes` are the roots of its full subtrees, the largest first."""

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.nodes = list(nodes)

    def append(self, leaf: bytes) -> None:
        """Add a leaf: an entry's hash, 32 bytes."""
        node = _leaf(leaf)
        # Each trailing binary 1 of the size is a full subtree of the same size as `node`: join them.
        size = self.size
        while size & 1:
            node = _node(self.nodes.pop(), node)
            size >>= 1
        self.nodes.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The tree's root; for an empty tree, the hash of the empty string."""
        if not self.nodes:
            return sha256(b"").digest()
        root = self.nodes[-1]
        for left in reversed(self.nodes[:-1]):
            root = _node(left, root)
        return root


def _root_by_path(node: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Compute the root of a tree of `size` from the leaf `node` at `index` and its audit path (RFC 6962, 2.1.1).

    Empty if the path has a wrong length.
    """
    if size == 1 or not path:
        return node if size == 1 and not path else b""
    # The left subtree has the largest power of two below `size`.
    left_size = 1 << (size - 1).bit_length() - 1
    sibling = path[-1]
    if index < left_size:
        return _node(_root_by_path(node, index, left_size, path[:-1]), sibling)
    return _node(sibling, _root_by_path(node, index - left_size, size - left_size, path[:-1]))


# Signed checkpoints


class Checkpoint(NamedTuple):
    """A signed note of a log's size and root. `text` is what is signed; a signature is a name, and key id and bytes."""

    origin: str
    size: int
    root: bytes
    text: str
    signatures: list[tuple[str, bytes]]

    @classmethod
    def read(cls, note: str) -> "Checkpoint":
        """Parse a note. Raises ValueError."""
        text, _, signature_lines = note.partition("\n\n")
        signatures = re.findall(r"— (\S+) (\S+)\n", signature_lines)
        # Name, size, root in Base64, and extension lines, which are ignored.
        is_text = re.fullmatch("[^\ufeff\n]+\n[1-9][0-9]{0,18}\n.{44}(\n.*)*", text)
        # Only signatures may follow.
        is_signed = signatures and "".join(f"— {name} {mark}\n" for name, mark in signatures) == signature_lines
        if not is_text or not is_signed:
            raise UnreadableError("not a checkpoint: name, size, root, a blank line, signatures")
        origin, size, root, *_extension = text.split("\n")
        return cls(
            origin=origin,
            size=int(size),
            root=b64decode(root, validate=True),
            text=text + "\n",
            signatures=[(name, b64decode(mark, validate=True)) for name, mark in signatures],
        )

    @staticmethod
    def key_id(name: str, key: bytes) -> bytes:
        """The four bytes that identify a key in a signed note (C2SP signed-note)."""
        return sha256(name.encode() + b"\n\x01" + key).digest()[:4]

    def check_signature(self, key: bytes, log: str = "") -> None:
        """Raise BrokenError unless it is signed with this Ed25519 key.

        `log` is the name of the key's log, or "".
        """
        key_id = self.key_id(self.origin, key)
        ours = [mark[4:] for name, mark in self.signatures if name == self.origin and mark[:4] == key_id]
        if not ours or log not in ("", self.origin):
            raise BrokenError("the checkpoint is not signed with this public key")
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(ours[0], self.text.encode())
        except InvalidSignature:
            raise BrokenError(f"the checkpoint of {self.size} was changed: its signature is not right") from None


def read_public_key(text: str) -> tuple[bytes, str]:
    """Parse a public key. Returns its 32 bytes, and the name of its log or "".

    `text` is a key as `audit_checkpoint` prints it (log+id+Base64), or its bytes in Base64. Raises UnreadableError.
    """
    match = re.fullmatch(rf"(?:({ORIGIN}[^+]*)[+]\w+[+])?([A-Za-z\d+/]{{43}}[A-Za-z\d+/=])", text.strip(), re.ASCII)
    if match:
        log, encoded = match.groups()
        decoded = b64decode(encoded)
        # C2SP puts a byte for the algorithm (Ed25519) before the key.
        if decoded[:-32] in (b"", b"\x01"):
            return decoded[-32:], log or ""
    raise UnreadableError("not a public key: 32 bytes of Ed25519 in Base64")


# Entries, one after the other


class Chain:
    """Checks entries in order and raises BrokenError at the first that does not follow the previous one.

    The log must agree with each of the `checkpoints`. In a `partial` chain entries may be missing.
    `unexplained` has the seq of each entry whose private part is gone without a later entry that records the erasure.
    """

    def __init__(self, checkpoints: Iterable[Checkpoint] = (), *, partial: bool = False) -> None:
        self.seq = 0
        self.hash = FIRST_PREV_HASH
        self.partial = partial
        self.tree = Tree()
        self.unexplained = set[int]()
        # Checkpoints that are not reached yet, the next one last.
        self._checkpoints = sorted(checkpoints, key=lambda checkpoint: checkpoint.size, reverse=True)
        # The seq up to which a checkpoint agrees.
        self._confirmed = 0

    def add(self, entry: dict[str, Any]) -> None:
        """Check the next entry. Raises BrokenError."""
        seq = entry["seq"]
        if seq <= self.seq:
            raise BrokenError(f"seq {seq}: it comes after seq {self.seq}: repeated, swapped or inserted")
        is_next = seq == self.seq + 1
        if not is_next and not self.partial:
            raise BrokenError(f"seq {self.seq + 1}: missing; seq {seq} comes in its place")
        if entry_hash(entry) != entry["hash"]:
            raise BrokenError(f"seq {seq}: its content is not what its hash was made of")
        self._check_private_part(entry)
        if is_next and entry["prev_hash"] != self.hash:
            raise BrokenError(f"seq {seq}: its prev_hash is not the hash of the entry before")
        self.seq, self.hash = seq, entry["hash"]
        if not self.partial:
            self.tree.append(bytes.fromhex(self.hash))
        self._check_checkpoints()

    def _check_private_part(self, entry: dict[str, Any]) -> None:
        seq, detail, private = entry["seq"], entry["detail"], entry.get("private")
        committed = detail.get("private")
        if private is not None and sha256(canonical(private)).hexdigest() != committed:
            raise BrokenError(f"seq {seq}: its private part is not what detail.private was made of")
        if private is None and committed:
            self.unexplained.add(seq)
        if entry["action"] == "text.erased" and isinstance(detail.get("entries"), list):
            self.unexplained.difference_update(erased for erased in detail["entries"] if type(erased) is int)

    def _check_checkpoints(self) -> None:
        """Compare the tree with the checkpoints of its current size."""
        if self.seq == 1:
            log = ORIGIN + self.hash[:16]
            if any(checkpoint.origin != log for checkpoint in self._checkpoints):
                raise BrokenError("seq 1: the checkpoint is of a log that begins with another entry, or of another log")
        while self._checkpoints and self._checkpoints[-1].size == self.seq:
            if self._checkpoints.pop().root != self.tree.root():
                covered = f"seq {self._confirmed + 1} to {self.seq}"
                raise BrokenError(f"{covered}: not the entries that the checkpoint of {self.seq} covers")
            self._confirmed = self.seq

    def finish(self) -> None:
        """Raise BrokenError if entries that a checkpoint covers are missing at the end."""
        if self._checkpoints:
            size = self._checkpoints[0].size
            raise BrokenError(f"seq {self.seq + 1}: missing; a checkpoint covers {size} entries")


def check_proof(entry: dict[str, Any], proof: str) -> Checkpoint:
    """Check that a proof includes `entry`. Returns its checkpoint, with the signature unchecked.

    Raises BrokenError, ValueError.
    """
    head, _, note = proof.partition("\n\n")
    form, index_line, *path_lines = [*head.split("\n"), ""]
    if form != PROOF or not re.fullmatch("index [0-9]{1,19}", index_line):
        raise UnreadableError(f"not a proof: {PROOF}, index, hashes, a blank line, a checkpoint")
    checkpoint = Checkpoint.read(note)
    path = [b64decode(line, validate=True) for line in path_lines[:-1]]
    # Check the entry's own hash first.
    Chain(partial=True).add(entry)
    seq, leaf = entry["seq"], _leaf(bytes.fromhex(entry["hash"]))
    is_included = (
        index_line == f"index {seq - 1}"
        and seq <= checkpoint.size
        and _root_by_path(leaf, seq - 1, checkpoint.size, path) == checkpoint.root
    )
    if not is_included:
        raise BrokenError(f"seq {seq}: the proof does not lead from it to the checkpoint's root")
    return checkpoint


def read_export(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """Read the entries of an export, one at a time. Raises UnreadableError naming the line."""
    lines = iter(lambda: file.readline(MAX_LINE_BYTES), b"")
    for number, line in enumerate(lines, start=1):
        try:
            entry = _read_line(line)
        except ValueError as problem:
            raise UnreadableError(f"line {number}: {problem}") from None
        yield entry


def _read_line(line: bytes) -> dict[str, Any]:
    """Parse a line of an export. Raises ValueError."""
    if line.startswith(BYTE_ORDER_MARK):
        raise UnreadableError("it begins with a byte-order mark")
    if not line.strip():
        raise UnreadableError("it is blank")
    if not line.endswith(b"\n"):
        raise UnreadableError("it is cut in the middle")
    if line.endswith(b"\r\n"):
        raise UnreadableError("it ends with CRLF")
    entry = load(line.decode())
    if not isinstance(entry, dict):
        raise UnreadableError("its keys are not those of an entry")
    version = entry.get("schema", 1)
    if type(version) is not int:
        raise UnreadableError("“schema” must be a whole number")
    if version not in VERSIONS:
        raise UnreadableError(f"its version, {version}, is not known here: a newer verifier is needed")
    # Old exports have no private parts.
    if entry.keys() | {"private"} != VERSIONS[version]:
        raise UnreadableError("its keys are not those of an entry")
    for key, value in entry.items():
        if type(value) not in FIELDS[key]:
            kinds = " or ".join(TYPE_NAMES[kind] for kind in FIELDS[key] if kind is not NULL)
            raise UnreadableError(f"“{key}” must be {kinds}")
    if entry["seq"] < 1 or not is_hash(entry["hash"]) or not is_hash(entry["prev_hash"]):
        raise UnreadableError("“seq” must be 1 or more, “hash” and “prev_hash” 64 hexadecimal digits")
    return entry


# The command


def _read_text(path: str) -> str:
    # Not `read_text`, which would convert other line ends to "\n".
    return Path(path).read_bytes().decode()


def verify(options: argparse.Namespace) -> str:
    """Verify the input. Returns the message without its full stop. Raises BrokenError, OSError, ValueError."""
    key = read_public_key(_read_text(options.public_key)) if options.public_key else None
    checkpoints = [Checkpoint.read(_read_text(path)) for path in options.checkpoint]
    is_signed = bool(options.proof or checkpoints)
    if options.partial + bool(options.proof) + bool(checkpoints) > 1 or (key and not is_signed):
        raise UnreadableError("give one of --checkpoint, --proof and --partial; --public-key with one of the first two")
    with open(options.export, "rb") as file:
        entries = read_export(file)
        if options.proof:
            result, unexplained = _verify_proof(entries, _read_text(options.proof), key)
        else:
            result, unexplained = _verify_chain(entries, checkpoints, key, partial=options.partial)
    if is_signed and not key:
        result += ", signatures not checked"
    if unexplained:
        result += f", private parts gone and no entry here says why: {unexplained}"
    return result


def _verify_chain(
    entries: Iterable[dict[str, Any]], checkpoints: list[Checkpoint], key: tuple[bytes, str] | None, *, partial: bool
) -> tuple[str, int]:
    """Verify an export. Returns the message, and the number of private parts that are gone without a record."""
    if key:
        for checkpoint in checkpoints:
            checkpoint.check_signature(*key)
    chain = Chain(checkpoints, partial=partial)
    for entry in entries:
        chain.add(entry)
    chain.finish()
    return f"{'seen up to' if partial else 'all of'} seq {chain.seq}, head {chain.hash}", len(chain.unexplained)


def _verify_proof(entries: Iterator[dict[str, Any]], proof: str, key: tuple[bytes, str] | None) -> tuple[str, int]:
    """Verify an export of one entry by its proof. Returns the same as `_verify_chain`."""
    entry = next(entries, None)
    if entry is None or next(entries, None):
        raise UnreadableError("--proof: the file must hold one entry")
    checkpoint = check_proof(entry, proof)
    if key:
        checkpoint.check_signature(*key)
    return f"seq {entry['seq']} is among the {checkpoint.size} entries of the checkpoint", 0


def main() -> int:
    """Run the command. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Exit status: 0 intact, 1 broken, 2 cannot be read.")
    parser.add_argument("export", metavar="EXPORT.jsonl")
    parser.add_argument("--partial", action="store_true", help="the export was filtered: entries may be missing")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="F", help="repeatable, none newer")
    parser.add_argument("--proof", metavar="F", help="verify that the one entry given is included")
    parser.add_argument("--public-key", metavar="F", help="what checkpoints must be signed with; else not checked")
    try:
        print(f"Intact: {verify(parser.parse_args())}.")
    except BrokenError as problem:
        print(f"Broken: {problem}.", file=sys.stderr)
        return 1
    except (ValueError, OSError) as problem:
        print(f"Cannot be read: {problem}.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
