"""Text as it is compared: one normaliser for the index, the query, the filter of a page, and highlighting. Pure.

Everything is computed here, nothing by a database: the engines fold case differently. docs/adr/0013 has the reasons.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from moderation.characters import INVISIBLE

# Raise it with every change to what `normalise` or `squeeze` return: the worker then indexes older messages anew.
RULES = 2
# A newer Unicode knows more characters.
_UNICODE = [int(part) for part in unicodedata.unidata_version.split(".")]
VERSION = RULES * 10**6 + _UNICODE[0] * 10**4 + _UNICODE[1] * 100 + _UNICODE[2]

# Scripts that are spelled with marks: there, and only there, a mark is part of a word (Hebrew to Khmer, and so on).
_SPELLED_WITH_MARKS = "\u0590-\u1aaf\u1b00-\u1cff\ua800-\uabff\U00010a00-\U00011fff"
_STRAY_MARKS = re.compile(f"(?<![{_SPELLED_WITH_MARKS}])[{_SPELLED_WITH_MARKS}]+")
# Characters of which it is kept what becomes of them; more than people use, fewer than there are.
MAX_KEPT = 30_000
_IDEOGRAPHS = (range(0x3400, 0xA000), range(0x20000, 0x32400))


def normalise(text: str) -> str:
    """`text` as it is compared: one form of each character, no capitals, nothing invisible, simplified Chinese.

    Characters outside Unicode's (halves of surrogate pairs) become question marks. Marks that merge with their letter
    stay (é is not e); marks laid over a character that has no such form go.
    """
    if text.isascii() and text.isprintable():
        return text.lower()
    text = INVISIBLE.sub("", text)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = _STRAY_MARKS.sub(_without_marks, INVISIBLE.sub("", text)).translate(_letters())
    # What a mark stood between may merge now. Neither engine takes half of a surrogate pair.
    return unicodedata.normalize("NFKC", text).encode("utf-8", "replace").decode()


def squeeze(normalised: str) -> str:
    """A normalised text without white space and signs (punctuation and symbols).

    Letters of a Hangul syllable that a sign kept apart stay apart. If they merged, a text that ends between them would
    have letters that the whole text does not have, and the index would not find it.
    """
    return normalised.translate(_WITHOUT_SIGNS)


def squeezed(text: str) -> str:
    """Any text as it is compared when white space and signs are ignored."""
    return squeeze(normalise(text))


def signs_in(normalised: str) -> str:
    """The signs in a normalised text, white space aside: each once, in order of their code points."""
    return "".join(sorted({sign for sign in set(normalised) - set(squeeze(normalised)) if not sign.isspace()}))


def _without_marks(run: re.Match[str]) -> str:
    """Letters that follow another script stay; marks before the first of them are no part of a word."""
    text = run[0]
    letters = next((place for place, sign in enumerate(text) if not _is_mark(sign)), len(text))
    return text[letters:]


def _is_mark(sign: str) -> bool:
    return unicodedata.category(sign) in {"Mn", "Me"}


def _kept(table: dict[int, str | None], code: int, becomes: str | None) -> str | None:
    """What is said of a character, kept for the next time unless somebody writes all that there are."""
    if len(table) < MAX_KEPT:
        table[code] = becomes
    return becomes


class _Letters(dict[int, "str | None"]):
    """For `str.translate`: no marks of no script in particular, and simplified forms; filled on first use."""

    def __missing__(self, code: int) -> str | None:
        sign = chr(code)
        goes = _is_mark(sign) and not re.match(f"[{_SPELLED_WITH_MARKS}]", sign)
        return _kept(self, code, None if goes else sign)


class _WithoutSigns(dict[int, "str | None"]):
    """For `str.translate`: white space and signs go; filled on first use."""

    def __missing__(self, code: int) -> str | None:
        sign = chr(code)
        return _kept(self, code, None if sign.isspace() or unicodedata.category(sign)[0] in "PSZ" else sign)


_WITHOUT_SIGNS = _WithoutSigns()


@cache
def _letters() -> _Letters:
    """Built once a process, in about 30 ms."""
    from opencc import OpenCC

    ideographs = [chr(code) for some in _IDEOGRAPHS for code in some]
    # One a line: a character's form must not depend on its neighbours.
    simplified = dict(zip(ideographs, OpenCC("t2s").convert("\n".join(ideographs)).split("\n"), strict=True))
    table = _Letters()
    for sign, form in simplified.items():
        # Of a few the simplified form is a traditional form of another one.
        while form != (next_form := simplified.get(form, form)):
            form = next_form
        if form != sign:
            table[ord(sign)] = form
    return table
