"""Verifies an export of the audit log. Needs this file and `cryptography`: neither the console nor its database.

A line is an entry, a JSON object. `hash` is the SHA-256 of its RFC 8785 form without `hash` and `private`, where half
of a surrogate pair counts as a character; `prev_hash` that of the line before; `seq` counts from 1. `private`, salted
text, null once erased, has its own in `detail.private`. The hashes are the leaves of a Merkle tree (RFC 6962, 2.1). A
checkpoint is a note of its size and root signed with Ed25519 (C2SP tlog-checkpoint); a proof is C2SP tlog-proof.
"""

import argparse
import json
import re
import sys
from base64 import b64decode
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import reduce
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FIRST_PREV_HASH = "0" * 64
ORIGIN = "moderation-console/"  # Then how the first entry's hash begins: a log is known by it.
PROOF = "c2sp.org/tlog-proof@v1"
KINDS = {int: "a whole number", str: "a string", dict: "an object", list: "a list"}
# What each key of an entry may hold, numbers as text beyond 2^53 - 1; NULLABLE ones also null.
KEYS: dict[str, set[type]] = {"timestamps": {list}, **dict.fromkeys(("conversation", "request", "detail"), {dict})}
KEYS |= dict.fromkeys(("at", "actor", "action", "app", "recall", "response_content", "prev_hash", "hash"), {str})
KEYS |= dict.fromkeys(("seq", "batch", "attempt", "http_status"), {int})
KEYS |= {**dict.fromkeys(("response_code", "latency_ms"), {int, str}), "private": {dict}}
NULLABLE = KEYS.keys() - {"seq", "at", "actor", "action", "detail", "prev_hash", "hash"}
TYPES = {key: {*kinds, type(None)} if key in NULLABLE else kinds for key, kinds in KEYS.items()}
IS_HASH = re.compile("[0-9a-f]{64}").fullmatch


class UnreadableError(ValueError):
    """What was given is not an export, a checkpoint, a proof or a key."""


class BrokenError(Exception):
    """It can be read, and it is not what was written."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise UnreadableError("a key occurs twice in one object")
    return found


def _int(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) >= 2**53:
        raise UnreadableError("a number is beyond 2^53 - 1")
    return int(digits)


# What is not whole becomes Decimal, which the encoder refuses, and so takes the slow way; NaN is refused at once.
_decode = json.JSONDecoder(object_pairs_hook=_object, parse_int=_int, parse_float=Decimal, parse_constant=_int).decode
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False).encode


def load(text: str, levels: int = 200) -> Any:
    """The value of one line. Raises UnreadableError: a key twice, a number beyond 2^53 - 1, more levels of nesting."""
    signs = re.sub(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^][{}]', "", text) if text.count("[") + text.count("{") > levels else ""
    if max(accumulate(1 if sign in "[{" else -1 for sign in signs), default=0) > levels:
        raise UnreadableError(f"it nests deeper than {levels} levels")
    try:
        return _decode(text)
    except (json.JSONDecodeError, ArithmeticError) as problem:
        raise UnreadableError(f"it is not JSON ({problem})") from None


def canonical(value: Any) -> bytes:
    """RFC 8785's form of what `load` returned."""
    try:
        text = _encode(value)
        # With characters of two units sorting by code points is no longer sorting by UTF-16, as RFC 8785 asks.
        text = _slowly(value) if len(text.encode("utf-16-le", "surrogatepass")) > 2 * len(text) else text
    except TypeError:
        text = _slowly(value)
    return text.encode("utf-8", "surrogatepass")


def _slowly(value: Any) -> str:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join([f"{_encode(name)}:{_slowly(value[name])}" for name in names]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([_slowly(item) for item in value]) + "]"
    if not isinstance(value, Decimal):
        return _encode(value)
    if abs(number := float(value)) == float("inf"):
        raise UnreadableError("a number is too great")
    # As ECMAScript writes it: the shortest digits, positional from 1e-6 up to 1e21.
    digits = Decimal(repr(number)).normalize()
    return "0" if number == 0 else f"{digits:f}" if 1e-6 <= abs(number) < 1e21 else f"{digits:e}"


def entry_hash(entry: dict[str, Any]) -> str:
    """The hash of an entry, whatever its own `hash` says."""
    return sha256(canonical({key: value for key, value in entry.items() if key not in ("hash", "private")})).hexdigest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


class Tree:
    """A Merkle tree as it grows: `nodes` are the roots of its full subtrees, the largest first."""

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        self.size, self.nodes = size, list(nodes)

    def append(self, leaf: bytes) -> None:
        """Add a leaf: an entry's hash, 32 bytes."""
        node, size = sha256(b"\0" + leaf).digest(), self.size
        while size & 1:
            node, size = _node(self.nodes.pop(), node), size >> 1
        self.nodes.append(node)
        self.size += 1

    def root(self) -> bytes:
        nodes = self.nodes or [sha256().digest()]
        return reduce(lambda right, left: _node(left, right), reversed(nodes))


class Checkpoint(NamedTuple):
    """A signed note of a log's size and root. `text` is what was signed."""

    origin: str
    size: int
    root: bytes
    text: str
    signatures: list[tuple[str, bytes]]

    @classmethod
    def read(cls, note: str) -> "Checkpoint":
        """Raises ValueError."""
        text, _, signed = note.partition("\n\n")
        lines, pairs = text.split("\n"), re.findall(r"— (\S+) (\S+)\n", signed)
        well = re.fullmatch("[^\ufeff\n]+\n[1-9][0-9]{0,18}\n.{44}(\n.*)*", text)
        if not well or not pairs or "".join(f"— {name} {mark}\n" for name, mark in pairs) != signed:
            raise UnreadableError("not a checkpoint: name, size, root, a blank line, signatures")
        signatures = [(name, b64decode(mark, validate=True)) for name, mark in pairs]
        return cls(lines[0], int(lines[1]), b64decode(lines[2], validate=True), text + "\n", signatures)

    @staticmethod
    def key_id(name: str, key: bytes) -> bytes:
        """What tells keys apart in a signed note (C2SP signed-note)."""
        return sha256(name.encode() + b"\n\1" + key).digest()[:4]

    def check_signature(self, key: bytes, log: str = "") -> None:
        """Raise BrokenError unless the holder of this Ed25519 key has signed, the key of this log if it is of one."""
        ours = self.origin, self.key_id(self.origin, key)
        marks = [mark[4:] for name, mark in self.signatures if (name, mark[:4]) == ours]
        if not marks or log not in ("", self.origin):
            raise BrokenError("the checkpoint is not signed with this public key")
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(marks[0], self.text.encode())
        except InvalidSignature:
            raise BrokenError(f"the checkpoint of {self.size} was changed: its signature is not right") from None


def read_public_key(text: str) -> tuple[bytes, str]:
    """A key as `audit_checkpoint` prints it (log+id+Base64), or its 32 bytes in Base64; and its log's name, or ""."""
    found = re.fullmatch(rf"(?:({ORIGIN}[^+]*)[+]\w+[+])?([A-Za-z\d+/]{{43}}[A-Za-z\d+/=])", text.strip(), re.ASCII)
    if not found or b64decode(found[2])[:-32] not in (b"", b"\1"):
        raise UnreadableError("not a public key: 32 bytes of Ed25519 in Base64")
    return b64decode(found[2])[-32:], found[1] or ""


def _climb(node: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root of a tree of `size` over the leaf `node` at `index`, by its audit path (RFC 6962, 2.1.1)."""
    if size == 1 or not path:
        return node if size == 1 and not path else b""
    left = 1 << (size - 1).bit_length() - 1
    if index < left:
        return _node(_climb(node, index, left, path[:-1]), path[-1])
    return _node(path[-1], _climb(node, index - left, size - left, path[:-1]))


def check_proof(entry: dict[str, Any], proof: str) -> Checkpoint:
    """The checkpoint that includes `entry` by this proof. Raises BrokenError, ValueError."""
    head, _, note = proof.partition("\n\n")
    form, index, *lines = [*head.split("\n"), ""]
    if form != PROOF or not re.fullmatch("index [0-9]{1,19}", index):
        raise UnreadableError(f"not a proof: {PROOF}, index, hashes, a blank line, a checkpoint")
    checkpoint, path, seq = Checkpoint.read(note), [b64decode(line, validate=True) for line in lines[:-1]], entry["seq"]
    Chain(partial=True).add(entry)
    leaf, belongs = sha256(b"\0" + bytes.fromhex(entry["hash"])).digest(), index == f"index {seq - 1}"
    if not belongs or seq > checkpoint.size or _climb(leaf, seq - 1, checkpoint.size, path) != checkpoint.root:
        raise BrokenError(f"seq {seq}: the proof does not lead from it to the checkpoint's root")
    return checkpoint


class Chain:
    """Takes entries in order and raises BrokenError at the first that does not follow; in a `partial` one some lack."""

    def __init__(self, checkpoints: Iterable[Checkpoint] = (), *, partial: bool = False) -> None:
        self.seq, self.hash, self.good, self.partial, self.tree = 0, FIRST_PREV_HASH, 0, partial, Tree()
        # `gone`: the seqs of those whose private part is gone and that no later entry says were erased.
        self.ahead, self.gone = sorted(checkpoints, key=lambda checkpoint: -checkpoint.size), set[int]()

    def add(self, entry: dict[str, Any]) -> None:
        seq, detail, private = entry["seq"], entry["detail"], entry.get("private")
        if seq <= self.seq:
            raise BrokenError(f"seq {seq}: it comes after seq {self.seq}: repeated, swapped or inserted")
        if seq > self.seq + 1 and not self.partial:
            raise BrokenError(f"seq {self.seq + 1}: missing; seq {seq} comes in its place")
        if entry_hash(entry) != entry["hash"]:
            raise BrokenError(f"seq {seq}: its content is not what its hash was made of")
        if private is not None and sha256(canonical(private)).hexdigest() != detail.get("private"):
            raise BrokenError(f"seq {seq}: its private part is not what detail.private was made of")
        self.gone.update([seq] if private is None and detail.get("private") else ())
        if entry["action"] == "text.erased" and isinstance(detail.get("entries"), list):
            self.gone.difference_update(named for named in detail["entries"] if type(named) is int)
        if seq == self.seq + 1 and entry["prev_hash"] != self.hash:
            raise BrokenError(f"seq {seq}: its prev_hash is not the hash of the entry before")
        self.seq, self.hash = seq, entry["hash"]
        if not self.partial:
            self.tree.append(bytes.fromhex(self.hash))
        if seq == 1 and any(checkpoint.origin != ORIGIN + self.hash[:16] for checkpoint in self.ahead):
            raise BrokenError("seq 1: the checkpoint is of a log that begins with another entry, or of another log")
        while self.ahead and self.ahead[-1].size == seq:
            if self.ahead.pop().root != self.tree.root():
                raise BrokenError(f"seq {self.good + 1} to {seq}: not the entries that the checkpoint of {seq} covers")
            self.good = seq

    def finish(self) -> None:
        """Raise BrokenError if entries that a checkpoint covers did not come."""
        if self.ahead:
            raise BrokenError(f"seq {self.seq + 1}: missing; a checkpoint covers {self.ahead[0].size} entries")


def read_export(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """The entries of an export, one at a time. Raises UnreadableError naming the line."""
    for number, line in enumerate(iter(lambda: file.readline(64 * 1024 * 1024), b""), start=1):
        try:
            if line.startswith(b"\xef\xbb\xbf"):
                raise UnreadableError("it begins with a byte-order mark")
            if not line.strip() or not line.endswith(b"\n") or line.endswith(b"\r\n"):
                cut = "is cut in the middle" if not line.endswith(b"\n") else "ends with CRLF"
                raise UnreadableError(f"it {cut if line.strip() else 'is blank'}")
            entry = load(line.decode())
            if not isinstance(entry, dict) or {"private", *entry} != KEYS.keys():
                raise UnreadableError("its keys are not those of an entry")
            for key in [key for key, value in entry.items() if type(value) not in TYPES[key]]:
                raise UnreadableError(f"“{key}” must be {' or '.join(KINDS[kind] for kind in KEYS[key])}")
            if entry["seq"] < 1 or not IS_HASH(entry["hash"]) or not IS_HASH(entry["prev_hash"]):
                raise UnreadableError("“seq” must be 1 or more, “hash” and “prev_hash” 64 hexadecimal digits")
        except ValueError as problem:
            raise UnreadableError(f"line {number}: {problem}") from None
        yield entry


def verify(given: argparse.Namespace) -> str:
    """What was found intact. Raises BrokenError, OSError, ValueError."""
    key = read_public_key(Path(given.public_key).read_bytes().decode()) if given.public_key else ()
    notes = [Checkpoint.read(Path(path).read_bytes().decode()) for path in given.checkpoint]
    if given.partial + bool(given.proof) + bool(notes) > 1 or (key and not (given.proof or notes)):
        raise UnreadableError("give one of --checkpoint, --proof and --partial; --public-key with one of the first two")
    with open(given.export, "rb") as file:
        entries, found = read_export(file), ""
        if given.proof:
            entry = next(entries, None)
            if entry is None or next(entries, None):
                raise UnreadableError("--proof: the file must hold one entry")
            notes = [check_proof(entry, Path(given.proof).read_bytes().decode())]
            found = f"seq {entry['seq']} is among the {notes[0].size} entries of the checkpoint"
        for note in notes if key else ():
            note.check_signature(*key)
        chain = Chain(() if found else notes, partial=given.partial)
        for entry in entries:
            chain.add(entry)
        chain.finish()
    found = found or f"{'seen up to' if given.partial else 'all of'} seq {chain.seq}, head {chain.hash}"
    found += ", signatures not checked" if notes and not key else ""
    return found + (f", private parts gone and no entry here says why: {len(chain.gone)}" if chain.gone else "")


def main() -> int:
    """The exit status: 0 intact; 1 broken, naming the first bad entry; 2 what was given cannot be read."""
    parser = argparse.ArgumentParser(description="Exit status: 0 intact, 1 broken, 2 cannot be read.")
    parser.add_argument("export", metavar="EXPORT.jsonl")
    parser.add_argument("--partial", action="store_true", help="the export was filtered: entries may be missing")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="F", help="repeatable, none newer")
    parser.add_argument("--proof", metavar="F", help="verify that the one entry given is included")
    parser.add_argument("--public-key", metavar="F", help="what checkpoints must be signed with; else not checked")
    try:
        print(f"Intact: {verify(parser.parse_args())}.")
    except (BrokenError, ValueError, OSError) as problem:
        print(f"{'Broken' if isinstance(problem, BrokenError) else 'Cannot be read'}: {problem}.", file=sys.stderr)
        return 1 if isinstance(problem, BrokenError) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
