"""Grams: the short pieces of a text that the index knows, and those of a text to search for. Pure.

An ideograph and the next character, or of another letter three characters, of the text without white space and signs,
so that one index serves the search that ignores these, too; each sign is a gram of its own. Chinese has no spaces, and
an index of three characters would miss its many words of two.

What is here is what the function `search_grams` of PostgreSQL does: change both, with a migration, or neither.
"""

from __future__ import annotations

from dataclasses import dataclass

from moderation.search.normalise import MAX_KEPT, normalise, signs_in, squeeze

# From this character on two make a gram, and before it three: four of these would make an index twice as large, and
# half as fast to write, for searches that are not faster.
FIRST_IDEOGRAPH = "\u2e80"
LETTERS = 3
# Between the letters and the signs of `SearchText.words`; no normalised text has it.
SEPARATOR = "\x1f"
# An index is searched for so many; more would narrow nothing down further.
MAX_GRAMS = 32


class _Shifted(dict[int, int]):
    """For `str.translate`: the lowest bits of a character, as a character that means nothing to an engine."""

    def __init__(self, first: int, mask: int) -> None:
        super().__init__()
        self._first, self._mask = first, mask

    def __missing__(self, code: int) -> int:
        shifted = self._first + (code & self._mask)
        if len(self) < MAX_KEPT:
            self[code] = shifted
        return shifted


# Were each pair of ideographs known by itself, most would be in a message or two, and the index would be some times as
# large as the texts. A gram begins with its first character, so that a search for this one finds it, too.
IDEOGRAPH, FOLLOWING = _Shifted(0x1000, 0xFFF), _Shifted(0x100, 0x1F)
LETTER = _Shifted(0x400, 0xFF)
SIGN = _Shifted(0x5000, 0x3FF)


def grams_of(words: str) -> set[str]:
    """All grams of `words`; near the end of its letters they are shorter."""
    squeezed, _separator, signs = words.partition(SEPARATOR)
    return {*_grams(squeezed, len(squeezed)), *signs.translate(SIGN)}


def _grams(squeezed: str, end: int) -> set[str]:
    """The grams that begin before `end`."""
    letters = squeezed.translate(LETTER)
    if squeezed.isascii():
        return {letters[place : place + LETTERS] for place in range(end)}
    first, following = squeezed.translate(IDEOGRAPH), squeezed.translate(FOLLOWING)
    return {
        letters[place : place + LETTERS]
        if squeezed[place] < FIRST_IDEOGRAPH
        else first[place] + following[place + 1 : place + 2]
        for place in range(end)
    }


def _grams_to_search(text: str, squeezed: str) -> tuple[set[str], str]:
    """The grams that every message has which holds the normalised `text`; for want of them, what one begins with."""
    signs = set(signs_in(text).translate(SIGN))
    whole = {gram for gram in _grams(squeezed, len(squeezed)) if len(gram) == (LETTERS if gram < chr(0x1000) else 2)}
    if whole or signs or not squeezed:
        return whole | signs, ""
    return set(), _grams(squeezed, 1).pop()


def words_of(text: str) -> str:
    """What `SearchText.words` has of a normalised text: it without white space and signs, and then the signs."""
    squeezed = squeeze(text)
    return squeezed if squeezed == text else f"{squeezed}{SEPARATOR}{signs_in(text)}"


@dataclass(frozen=True)
class Needle:
    """What is compared with each message's `column`, and what an index can be searched for."""

    text: str
    column: str
    grams: frozenset[str]
    beginning: str

    @property
    def is_in_index(self) -> bool:
        """Whether the index can be searched for it: white space is not in it."""
        return bool(self.grams or self.beginning)


def needle_of(text: str, *, loosely: bool = False) -> Needle:
    text = normalise(text)
    squeezed = squeeze(text)
    # Of signs alone nothing would be left.
    if loosely and squeezed:
        text = squeezed
    else:
        loosely = False
    grams, beginning = _grams_to_search(text, squeezed)
    return Needle(text, "words" if loosely else "text", frozenset(grams), beginning)
