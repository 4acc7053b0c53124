"""Which characters are seen as nothing."""

from __future__ import annotations

import re
import unicodedata

# Unicode, DerivedCoreProperties.txt, Default_Ignorable_Code_Point; and the invisible marks of annotations.
IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)


# A braille pattern without a dot, and a note without a head.
_UNSEEN = {"Cc", "Cf", "Mn", "Me", "Mc", "Zs", "Zl", "Zp"}


_BLANKS = "\u2800\U0001d159"


# Control characters that are no white space are seen as little.
INVISIBLE = re.compile(f"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f{IGNORABLE}]+")


def is_invisible(sign: str) -> bool:
    """Whether a character is seen as nothing, and dropped wherever it stands."""
    return bool(INVISIBLE.fullmatch(sign))


def is_blank(text: str) -> bool:
    """Whether nothing of a name is seen: no character, or white space, invisible ones and marks alone."""
    return all(sign in _BLANKS or unicodedata.category(sign) in _UNSEEN or is_invisible(sign) for sign in text)
