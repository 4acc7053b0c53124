"""Where in a text what was searched for is. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache

from moderation.characters import is_invisible
from moderation.search.normalise import normalise, squeezed

BEFORE, AFTER = 60, 180

# Sounds of a syllable that Unicode writes as one, half-wide marks, and the Thai and Lao vowels that begin with a mark:
# what follows a character and merges with it.
MERGES = {*map(chr, range(0x1160, 0x1200)), "\uff9e", "\uff9f", "\u0e33", "\u0eb3"}


def excerpt(text: str, looked_for: str, *, loosely: bool = False) -> list[tuple[str, bool]]:
    """A part of `text` around the first place at which `looked_for` is, in pieces: each with whether it is that.

    Without such a place, or with nothing to look for, the beginning. What is compared is what the search compares
    (`normalise`, or `squeezed` if `loosely`); what is told is the text as it was written.
    """
    compare = squeezed if loosely and squeezed(looked_for) else normalise
    needle = compare(looked_for)
    places = list(_places(text, needle, compare)) if needle else []
    start = max(0, places[0][0] - BEFORE) if places else 0
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
    """The places in `text` at which `needle` is, one after the other."""
    compared = compare(text)
    # Mostly one character is compared as one character, and then there is nothing to work out.
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
    """For each character of `text` as it is compared, where in `text` that begins and ends which it comes from."""
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
    """Whether a character is compared together with the one before it."""
    return not sign.isascii() and (unicodedata.category(sign)[0] == "M" or sign in MERGES or is_invisible(sign))
