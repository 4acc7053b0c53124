"""Text normalisation for the index, queries, the filter of a page, and highlighting. Pure.

Nothing is left to the databases, which fold case differently. docs/adr/0013 has the reasons.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from moderation.characters import INVISIBLE

# Increase it with every change to the results of `normalise` or `squeeze`: the worker then indexes all messages again.
RULES = 2
# A newer version of Unicode may normalise differently.
_UNICODE = [int(part) for part in unicodedata.unidata_version.split(".")]
VERSION = RULES * 10**6 + _UNICODE[0] * 10**4 + _UNICODE[1] * 100 + _UNICODE[2]

# Scripts in which combining marks are part of a word (Hebrew to Khmer, and so on).
_SPELLED_WITH_MARKS = "\u0590-\u1aaf\u1b00-\u1cff\ua800-\uabff\U00010a00-\U00011fff"
_STRAY_MARKS = re.compile(f"(?<![{_SPELLED_WITH_MARKS}])[{_SPELLED_WITH_MARKS}]+")
# Characters cached in a translation table: more than people use, fewer than exist.
MAX_KEPT = 30_000
_IDEOGRAPHS = (range(0x3400, 0xA000), range(0x20000, 0x32400))


def normalise(text: str) -> str:
    """Normalise `text`: NFKC, case-folded, without invisible characters, in simplified Chinese.

    Lone surrogates become question marks. Marks that compose with their letter stay (é is not e); marks on a character
    without a composed form are removed.
    """
    if text.isascii() and text.isprintable():
        return text.lower()
    text = INVISIBLE.sub("", text)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = _STRAY_MARKS.sub(_without_marks, INVISIBLE.sub("", text)).translate(_letters())
    # Characters that a mark separated may compose now. Neither engine accepts lone surrogates.
    return unicodedata.normalize("NFKC", text).encode("utf-8", "replace").decode()


def squeeze(normalised: str) -> str:
    """A normalised text without white space and signs (punctuation and symbols).

    Letters of a Hangul syllable that a sign kept apart stay apart. If they merged, a text that ends between them would
    have letters that the whole text does not have, and the index would not find it.
    """
    return normalised.translate(_WITHOUT_SIGNS)


def squeezed(text: str) -> str:
    """Normalise `text` for comparisons that ignore white space and signs."""
    return squeeze(normalise(text))


def signs_in(normalised: str) -> str:
    """The distinct signs in a normalised text, without white space, by code point."""
    return "".join(sorted({sign for sign in set(normalised) - set(squeeze(normalised)) if not sign.isspace()}))


def _without_marks(run: re.Match[str]) -> str:
    """Remove the marks before the first letter of the run, which belong to another script's character."""
    text = run[0]
    letters = next((place for place, sign in enumerate(text) if not _is_mark(sign)), len(text))
    return text[letters:]


def _is_mark(sign: str) -> bool:
    return unicodedata.category(sign) in {"Mn", "Me"}


def _cached(table: dict[int, str | None], code: int, becomes: str | None) -> str | None:
    """Cache a character's translation, up to MAX_KEPT of them, and return it."""
    if len(table) < MAX_KEPT:
        table[code] = becomes
    return becomes


class _Letters(dict[int, "str | None"]):
    """Table for `str.translate`: removes stray marks and maps to simplified forms; filled on first use."""

    def __missing__(self, code: int) -> str | None:
        sign = chr(code)
        goes = _is_mark(sign) and not re.match(f"[{_SPELLED_WITH_MARKS}]", sign)
        return _cached(self, code, None if goes else sign)


class _WithoutSigns(dict[int, "str | None"]):
    """Table for `str.translate`: removes white space and signs; filled on first use."""

    def __missing__(self, code: int) -> str | None:
        sign = chr(code)
        return _cached(self, code, None if sign.isspace() or unicodedata.category(sign)[0] in "PSZ" else sign)


_WITHOUT_SIGNS = _WithoutSigns()


@cache
def _letters() -> _Letters:
    """Build the table, once per process, in about 30 ms."""
    from opencc import OpenCC

    ideographs = [chr(code) for some in _IDEOGRAPHS for code in some]
    # One per line, because OpenCC's result can depend on neighbouring characters.
    simplified = dict(zip(ideographs, OpenCC("t2s").convert("\n".join(ideographs)).split("\n"), strict=True))
    table = _Letters()
    for sign, form in simplified.items():
        # Some simplified forms are themselves traditional forms of another character.
        while form != (next_form := simplified.get(form, form)):
            form = next_form
        if form != sign:
            table[ord(sign)] = form
    return table
