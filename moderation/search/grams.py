"""Grams: short substrings for the index, of messages and of search texts. Pure.

A gram is two characters from an ideograph on, or three from another letter on, of the text without white space and
signs, so that the same index serves searches that ignore these; each sign is a gram of its own. Chinese has no spaces,
and grams of three characters would miss its many words of two.

The PostgreSQL function `search_grams` does the same: change both, with a migration, or neither.
"""

from __future__ import annotations

from dataclasses import dataclass

from moderation.search.normalise import MAX_KEPT, normalise, signs_in, squeeze

# From this character on a gram has two characters, before it LETTERS: four instead of three would double the index's
# size and halve its write speed, without faster searches.
FIRST_IDEOGRAPH = "\u2e80"
LETTERS = 3
# Separates letters and signs in `SearchText.words`; never occurs in normalised text.
SEPARATOR = "\x1f"
# Grams used in one search; more would hardly narrow it further.
MAX_GRAMS = 32


class _Shifted(dict[int, int]):
    """Table for `str.translate`: maps a character's lowest bits to a character without meaning for the engines."""

    def __init__(self, first: int, mask: int) -> None:
        super().__init__()
        self._first, self._mask = first, mask

    def __missing__(self, code: int) -> int:
        shifted = self._first + (code & self._mask)
        if len(self) < MAX_KEPT:
            self[code] = shifted
        return shifted


# Unhashed pairs of ideographs would mostly occur in one or two messages, and the index would be several times as large
# as the texts. A gram begins with its first character, so that a prefix search for that character matches it.
IDEOGRAPH, FOLLOWING = _Shifted(0x1000, 0xFFF), _Shifted(0x100, 0x1F)
LETTER = _Shifted(0x400, 0xFF)
SIGN = _Shifted(0x5000, 0x3FF)


def grams_of(words: str) -> set[str]:
    """All grams of `words`; those at the end of the letters are shorter."""
    squeezed, _separator, signs = words.partition(SEPARATOR)
    return {*_grams(squeezed, len(squeezed)), *signs.translate(SIGN)}


def _grams(squeezed: str, end: int) -> set[str]:
    """The grams that begin before position `end`."""
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
    """The grams of every message that contains the normalised `text`; if there are none, the beginning of one."""
    signs = set(signs_in(text).translate(SIGN))
    whole = {gram for gram in _grams(squeezed, len(squeezed)) if len(gram) == (LETTERS if gram < chr(0x1000) else 2)}
    if whole or signs or not squeezed:
        return whole | signs, ""
    return set(), _grams(squeezed, 1).pop()


def words_of(text: str) -> str:
    """The value of `SearchText.words`: a normalised text without white space and signs, followed by its signs."""
    squeezed = squeeze(text)
    return squeezed if squeezed == text else f"{squeezed}{SEPARATOR}{signs_in(text)}"


@dataclass(frozen=True)
class Needle:
    """A search text, the column it is compared with, and its grams for the index."""

    text: str
    column: str
    grams: frozenset[str]
    beginning: str

    @property
    def is_in_index(self) -> bool:
        """Whether the index can be searched for it, which excludes white space alone."""
        return bool(self.grams or self.beginning)


def needle_of(text: str, *, loosely: bool = False) -> Needle:
    text = normalise(text)
    squeezed = squeeze(text)
    # A text of signs alone would become empty.
    if loosely and squeezed:
        text = squeezed
    else:
        loosely = False
    grams, beginning = _grams_to_search(text, squeezed)
    return Needle(text, "words" if loosely else "text", frozenset(grams), beginning)
