"""What people wrote, shown so that it can neither deceive nor hide."""

from __future__ import annotations

import json
import unicodedata
from zlib import crc32

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from moderation.archive.payloads import with_marks
from moderation.goeasy.fields import object_of, text_of

register = template.Library()

TONES = 8


@register.filter
def visible(text: object) -> SafeString:
    """`text` escaped, with marks that cannot be seen, or that turn the direction of text, written out."""
    pieces = (
        format_html('<span class="mark" title="{}">{}</span>', name, piece) if name else piece
        for piece, name in with_marks(str(text))
    )
    return format_html_join("", "{}", ((piece,) for piece in pieces))


@register.filter
def initial(name: str) -> str:
    """The first letter or digit of `name`, for a picture that is never fetched."""
    return next((sign.upper() for sign in name if unicodedata.category(sign)[0] in "LN"), "?")


@register.filter
def tone(user_id: str) -> int:
    """A number below 8 that stays with `user_id`: one sender, one colour."""
    return crc32(user_id.encode("utf-8", "replace")) % TONES


@register.filter
def person(about: object) -> str:
    """A recaller as clients see it, `{"id": …, "data": {"name": …}}`, in a few words."""
    if not isinstance(about, dict):
        return json.dumps(about, ensure_ascii=False)[:200]
    name = object_of(about.get("data")).get("name")
    words = [part for part in (text_of(name), text_of(about.get("id"))) if part]
    return " · ".join(dict.fromkeys(words)) or json.dumps(about, ensure_ascii=False)[:200]


@register.filter
def seconds(duration: float) -> str:
    """A duration in seconds as 1:05."""
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes}:{rest:02d}"
