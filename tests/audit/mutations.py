"""What a forger could do to a log: one function each, from an honest log to a false one, and what finds it.

`held` is how many entries the checkpoint covers that somebody keeps elsewhere; each forgery touches one of those.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from .logs import Entry, chained, log, text

Forgery = Callable[[random.Random, list[Entry], int], list[Entry]]


def different(rng: random.Random, value: object) -> object:
    """A value other than `value`, of the same kind if possible."""
    if isinstance(value, bool) or value is None:
        return rng.choice([0, "", "x", not value])
    if isinstance(value, int):
        return value + rng.choice([-1, 1, 10**6])
    if isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        return rng.choice([value[:at] + "x" + value[at:], value + " ", value + "\u200b", None])
    if isinstance(value, list):
        return rng.choice([[*value, 1], value[1:], None])
    assert isinstance(value, dict)
    key = rng.choice(sorted(value))
    return rng.choice(
        [{**value, key: different(rng, value[key])}, {**value, "x": 1}, {k: value[k] for k in value if k != key}]
    )


def any_field_changed(rng: random.Random, entries: list[Entry], held: int) -> list[Entry]:
    return changed(rng, entries, held, list(entries[0]))


def changed(rng: random.Random, entries: list[Entry], held: int, keys: list[str]) -> list[Entry]:
    entry, key = entries[rng.randrange(held)], rng.choice(keys)
    entry[key] = different(rng, entry[key])
    return entries


def deleted(rng: random.Random, entries: list[Entry], held: int) -> list[Entry]:
    at = rng.randrange(held)
    del entries[at : at + rng.randint(1, 3)]
    return entries


def inserted(rng: random.Random, entries: list[Entry], held: int) -> list[Entry]:
    entries.insert(rng.randrange(held), log(1, actor="forger")[0])
    return entries


def repeated(rng: random.Random, entries: list[Entry], held: int) -> list[Entry]:
    entries.insert(rng.randrange(held), copy.deepcopy(entries[rng.randrange(held)]))
    return entries


def swapped(rng: random.Random, entries: list[Entry], held: int) -> list[Entry]:
    one, two = rng.sample(range(held), 2)
    entries[one], entries[two] = entries[two], entries[one]
    return entries


def swapped_and_renumbered(rng: random.Random, entries: list[Entry], held: int) -> list[Entry]:
    swapped(rng, entries, held)
    return [{**entry, "seq": seq} for seq, entry in enumerate(entries, start=1)]


def cut_off(rng: random.Random, entries: list[Entry], held: int) -> list[Entry]:
    return entries[: rng.randrange(held)]


def chained_anew(rng: random.Random, entries: list[Entry], held: int) -> list[Entry]:
    # The fields of the seal are computed anew in any case.
    keys = [key for key in entries[0] if key not in {"seq", "prev_hash", "hash"}]
    forgery = rng.choice([deleted, inserted, swapped, None])
    return chained(forgery(rng, entries, held) if forgery else changed(rng, entries, held, keys))


def chained_anew_from_one_entry_on(rng: random.Random, entries: list[Entry], held: int) -> list[Entry]:
    at = rng.randrange(held)
    entries[at]["actor"] = "forger"
    return [*entries[:at], *chained(entries)[at:]]


def put_back(rng: random.Random, entries: list[Entry], held: int) -> list[Entry]:
    """A restored older log that continued differently."""
    past = rng.randrange(1, held)
    return chained([*entries[:past], *log(rng.randrange(held), actor="after the return")])


def forked(rng: random.Random, entries: list[Entry], held: int) -> list[Entry]:
    """A second log with the same beginning and length."""
    past = rng.randrange(1, held)
    return chained([*entries[:past], *log(len(entries) - past, actor="other branch")])


FORGERIES: list[Forgery] = [
    any_field_changed,
    any_field_changed,
    any_field_changed,
    deleted,
    inserted,
    repeated,
    swapped,
    swapped_and_renumbered,
    cut_off,
    chained_anew,
    chained_anew_from_one_entry_on,
    put_back,
    forked,
]


def campaign(seed: int, count: int, folder: Path) -> Iterator[tuple[str, Path, list[Entry], int]]:
    """Yield `count` forgeries: name, file, honest log, and number of its entries under a checkpoint."""
    rng = random.Random(seed)
    honest = log(24)
    for number in range(count):
        held = rng.randint(4, len(honest))
        if number % 10 == 9:
            name, data = "a bit flipped", bytearray(text(honest).encode())
            lines = len(text(honest[:held]).encode())
            data[rng.randrange(lines)] ^= 1 << rng.randrange(8)
        else:
            forgery = rng.choice(FORGERIES)
            name, data = forgery.__name__, bytearray(text(forgery(rng, copy.deepcopy(honest), held)).encode())
        path = folder / "forged.jsonl"
        path.write_bytes(data)
        yield name, path, honest, held
