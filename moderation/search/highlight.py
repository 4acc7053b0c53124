"""Highlighting of a search text in excerpts. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache

from moderation.characters import is_invisible
from moderation.search.normalise import normalise, squeezed

BEFORE, AFTER = 60, 180

# Characters that merge with the preceding one: conjoining Hangul letters, half-width voice marks, and the Thai and Lao
# vowels that begin with a mark.
MERGES = {*map(chr, range(0x1160, 0x1200)), "\uff9e", "\uff9f", "\u0e33", "\u0eb3"}


def excerpt(text: str, looked_for: str, *, loosely: bool = False, before: int = BEFORE) -> list[tuple[str, bool]]:
    """An excerpt of `text` around the first match of `looked_for`, in pieces, each with whether it matches.

    At most `before` characters precede the match. Without a match, the beginning of the text. Texts are compared as in
    the search (`normalise`, or `squeezed` if `loosely`); the pieces are the original text.
    """
    compare = squeezed if loosely and squeezed(looked_for) else normalise
    needle = compare(looked_for)
    places = list(_places(text, needle, compare)) if needle else []
    start = max(0, places[0][0] - before) if places else 0
    end = min(len(text), (places[0][1] if places else start) + AFTER)
    pieces, position = [("…", False)] if start else [], start
    for begins, ends in places:
        if begins >= end:
            break
        pieces += [(text[position:begins], False), (text[begins:ends], True)]
        position = ends
    pieces.append((text[position:end], False))
    if max(position, end) < len(text):
        pieces.append(("…", False))
    return [(piece, hit) for piece, hit in pieces if piece]


def _places(text: str, needle: str, compare: Callable[[str], str]) -> Iterator[tuple[int, int]]:
    """Yield start and end of each match of `needle` in `text`."""
    compared = compare(text)
    # Usually each character normalises to one character, and positions need no mapping.
    origins = None if len(compared) == len(text) else _origins(text, compare)
    position, shown = compared.find(needle), 0
    while position >= 0:
        begins, ends = position, position + len(needle)
        if origins is None and compare(text[begins:ends]) != needle:
            origins = _origins(text, compare)
        if origins is not None:
            if len(origins) != len(compared):
                return
            begins, ends = origins[position][0], origins[ends - 1][1]
        if begins >= shown:
            yield begins, ends
            shown = ends
        position = compared.find(needle, position + len(needle))


def _origins(text: str, compare: Callable[[str], str]) -> list[tuple[int, int]]:
    """For each character of the normalised text, start and end of its origin in `text`."""
    compare = lru_cache(maxsize=None)(compare)
    origins: list[tuple[int, int]] = []
    begins = 0
    for place in range(1, len(text) + 1):
        if place < len(text) and _belongs_to_the_last(text[place]):
            continue
        origins += [(begins, place)] * len(compare(text[begins:place]))
        begins = place
    return origins


def _belongs_to_the_last(sign: str) -> bool:
    """Whether a character is normalised together with the preceding one."""
    return not sign.isascii() and (unicodedata.category(sign)[0] == "M" or sign in MERGES or is_invisible(sign))
