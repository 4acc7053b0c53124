"""How deep JSON nests. Pure."""

from __future__ import annotations

import re

# Deeper than any message is, and far from what Python's own reader, which recurses, can bear.
MAX_DEPTH = 100


STEP = {"[": 1, "{": 1, "]": -1, "}": -1}


# A string that never ends is one token to the end of the text: looking again from each of its quotes would be slow.
STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def nests_too_deeply(raw: str) -> bool:
    """Whether the brackets of the JSON text `raw`, without blanks before it, nest deeper than MAX_DEPTH.

    Counted, not left to the interpreter: how deep its reader of JSON goes depends on its version.
    """
    if raw.count("[") + raw.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for token in STRING_OR_BRACKET.finditer(raw) if raw[:1] in ("[", "{") else ():
        depth += STEP.get(token[0], 0)
        if depth > MAX_DEPTH:
            return True
    return False
