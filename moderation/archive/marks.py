"""Visible notation for invisible and misleading characters. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# Control characters, bidirectional controls, invisible characters, and lone surrogates.
# The joiners U+200C and U+200D are excluded: emoji and several scripts need them.
MARK = (
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


# The flag of England is a black flag followed by tag characters: one picture, not hidden text.
FLAG_OR_MARKS = re.compile(f"(\U0001f3f4[\U000e0020-\U000e007f]+)|({MARK})\\2*")


def with_marks(text: str) -> Iterator[tuple[str, str]]:
    """Split `text` into plain pieces, (piece, ""), and invisible or misleading characters, ("U+202E ×3", name)."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    position = 0
    for match in FLAG_OR_MARKS.finditer(text):
        if match[1]:
            continue
        if match.start() > position:
            yield text[position : match.start()], ""
        position = match.end()
        yield written_out(match[2], len(match[0]))
    if position < len(text):
        yield text[position:], ""


def written_out(sign: str, count: int) -> tuple[str, str]:
    """The notation for `count` times the character `sign` ("U+202E ×3"), and the character's name."""
    code = f"U+{ord(sign):04X}" + (f" ×{count}" if count > 1 else "")
    return code, unicodedata.name(sign, "control character").lower()
