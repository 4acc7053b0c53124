"""Characters that would not be seen, or would deceive, written out. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# Control characters, marks that turn the direction of text, invisible ones, and halves of surrogate pairs.
# The joiners U+200C and U+200D are left alone: emoji and several scripts are spelled with them.
MARK = (
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


# England's flag is a black flag and tags: one picture, not hidden text.
FLAG_OR_MARKS = re.compile(f"(\U0001f3f4[\U000e0020-\U000e007f]+)|({MARK})\\2*")


def with_marks(text: str) -> Iterator[tuple[str, str]]:
    """`text` in pieces: (piece, "") as it is; ("U+202E ×3", its name) for what would not be seen, or would deceive."""
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
    """What stands for a character that would not be seen, `count` times ("U+202E ×3"), and its name."""
    code = f"U+{ord(sign):04X}" + (f" ×{count}" if count > 1 else "")
    return code, unicodedata.name(sign, "control character").lower()
