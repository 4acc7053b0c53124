"""Comparison of HTML, independent of the layout of its template."""

from __future__ import annotations

import re
from typing import Any


def markup(response: Any) -> str:
    """The page's HTML with collapsed white space, and none at the ends of tags."""
    html = re.sub(r"\s+", " ", response.content.decode()).replace(" >", ">")
    return re.sub(r" (</)", r"\1", re.sub(r"(<[a-z][^<>]*>) ", r"\1", html))
