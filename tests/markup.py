"""HTML as tests compare it: however its template is laid out."""

from __future__ import annotations

import re
from typing import Any


def markup(response: Any) -> str:
    """The page's HTML with white space as a browser reads it: one space for many, none inside a tag's ends."""
    html = re.sub(r"\s+", " ", response.content.decode()).replace(" >", ">")
    return re.sub(r" (</)", r"\1", re.sub(r"(<[a-z][^<>]*>) ", r"\1", html))
