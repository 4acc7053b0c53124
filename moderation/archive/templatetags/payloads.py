"""Template filters for text by users, with invisible and misleading characters made visible."""

from __future__ import annotations

import json
import re
import unicodedata
from itertools import groupby
from zlib import crc32

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from moderation.archive.marks import with_marks, written_out
from moderation.archive.messages.shown import MAX_CHARACTERS
from moderation.characters import is_blank
from moderation.goeasy.fields import object_of, text_of

register = template.Library()

TONES = 8


@register.filter
def visible(text: object) -> SafeString:
    """`text` escaped, with invisible and bidirectional characters in visible notation."""
    text = str(text)
    if not text.isspace() and is_blank(text):
        # Without this nothing would be visible.
        pieces = [written_out(sign, len(list(run))) for sign, run in groupby(text[:MAX_CHARACTERS])]
        return format_html_join(" ", '<span class="mark" title="{}">{}</span>', ((name, code) for code, name in pieces))
    marked = (
        format_html('<span class="mark" title="{}">{}</span>', name, piece) if name else piece
        for piece, name in with_marks(text)
    )
    return format_html_join("", "{}", ((piece,) for piece in marked))


# What follows a link in a sentence does not belong to it.
LINK = re.compile(
    r"(https?://|www\.)([^\s/?#<>\"'，。；：！？、（）「」『』【】《》]+)([^\s<>\"'，。；：！？、（）「」『』【】《》]*)",
    re.I,
)
SENTENCE_END = ".,;:!?)]}"


@register.filter
def linked(text: object) -> SafeString:
    """`visible`, with links marked and their host in bold. They are shown, and lead nowhere."""
    text, pieces, at = str(text), [], 0
    for link in LINK.finditer(text):
        whole = link[0].rstrip(SENTENCE_END)
        host = whole[len(link[1]) : link.end(2) - link.start()]
        rest = whole[len(link[1]) + len(host) :]
        pieces += [visible(text[at : link.start()]) if link.start() > at else ""]
        markup = '<span class="link">{}<strong>{}</strong>{}</span>'
        pieces += [format_html(markup, link[1], visible(host) if host else "", visible(rest) if rest else "")]
        at = link.start() + len(whole)
    if not pieces:
        return visible(text)
    return format_html_join("", "{}", ((piece,) for piece in [*pieces, visible(text[at:]) if text[at:] else ""]))


@register.filter
def unless_blank(name: str, otherwise: str) -> str:
    """`name`, or `otherwise` when it has no visible characters."""
    return otherwise if is_blank(name) else name


@register.filter
def untranslated(text: object) -> SafeString:
    """`text` marked as not to be translated by the browser."""
    return format_html('<span translate="no">{}</span>', text)


@register.filter
def initial(name: str) -> str:
    """The first letter or digit of `name`, shown instead of an avatar, which is never fetched."""
    return next((sign.upper() for sign in name if unicodedata.category(sign)[0] in "LN"), "?")


@register.filter
def tone(user_id: str) -> int:
    """A stable number below 8 for `user_id`, so that each sender keeps one colour."""
    return crc32(user_id.encode("utf-8", "replace")) % TONES


@register.filter
def person(about: object) -> str:
    """Name and id of a recaller as clients see it, `{"id": …, "data": {"name": …}}`."""
    if not isinstance(about, dict):
        return json.dumps(about, ensure_ascii=False)[:200]
    name = object_of(about.get("data")).get("name")
    words = [part for part in (text_of(name), text_of(about.get("id"))) if not is_blank(part)]
    return " · ".join(dict.fromkeys(words)) or json.dumps(about, ensure_ascii=False)[:200]


@register.filter
def seconds(duration: float) -> str:
    """A duration in seconds as 1:05."""
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes}:{rest:02d}"
