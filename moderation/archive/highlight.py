"""Where in a text what was searched for is. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from moderation.archive.search import normalised

BEFORE, AFTER = 60, 180

# Sounds of a syllable that Unicode writes as one, and half-wide marks: what follows a character and merges with it.
MERGES = {*map(chr, range(0x1160, 0x1200)), "\uff9e", "\uff9f"}


def excerpt(text: str, looked_for: str) -> list[tuple[str, bool]]:
    """A part of `text` around the first place at which `looked_for` is, in pieces: each with whether it is that.

    Without such a place, or with nothing to look for, the beginning. What is compared is what the search compares
    (`search.normalised`); what is told is the text as it was written.
    """
    needle = normalised(looked_for)
    places = list(_places(text, needle)) if needle else []
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


def _places(text: str, needle: str) -> Iterator[tuple[int, int]]:
    """The places in `text` at which `needle` is, one after the other."""
    compared = normalised(text)
    # Mostly one character is compared as one character, and then there is nothing to work out.
    starts = None if len(compared) == len(text) else _starts(text)
    position, told = compared.find(needle), 0
    while position >= 0:
        begins, ends = position, position + len(needle)
        if starts is None and normalised(text[begins:ends]) != needle:
            starts = _starts(text)
        if starts is not None:
            if len(starts) != len(compared):
                return
            begins = starts[position]
            last = starts[ends - 1]
            ends = next((start for start in starts[ends:] if start > last), len(text))
        if begins >= told:
            yield begins, ends
            told = ends
        position = compared.find(needle, position + len(needle))


def _starts(text: str) -> list[int]:
    """For each character of the normalised `text`, where in `text` that begins which it comes from."""
    starts: list[int] = []
    begins = 0
    for place in range(1, len(text) + 1):
        if place < len(text) and (unicodedata.combining(text[place]) or text[place] in MERGES):
            continue
        starts += [begins] * len(normalised(text[begins:place]))
        begins = place
    return starts
