"""How a message is shown: from its raw JSON text to words or an attachment. Pure: no model, no request.

Nothing here trusts what it reads. A payload that is not what its type says is shown as formatted JSON, and a text
that is not JSON as itself (goeasy-api.md, "History": message types and payloads). Of a type of the app's own, what is
meant to be read comes first, and the JSON behind it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from moderation.characters import is_blank
from moderation.goeasy.answers import value_of
from moderation.goeasy.fields import decimal_number, object_of, recall_mark, whole_number

# Longer words are folded up; far longer ones are cut, so that one message cannot fill the page.
FOLD_CHARACTERS = 600
FOLD_LINES = 12
MOST_CHARACTERS = 12_000

# Longer addresses are no links: sixty images could fill the page with theirs.
MOST_URL_CHARACTERS = 2_000

ATTACHMENTS = ("image", "audio", "video", "file")
# Of a type of the app's own: the fields that people read, the first one that there is.
HEADLINES = ("text", "name", "title", "content")

# A host and perhaps a port. Neither user names nor backslashes: browsers and this program would read them differently.
ADDRESS = re.compile(r"https?://[\w.-]+(:\d{1,5})?([/?#][^\s\\]*)?", re.IGNORECASE)

# Control characters, marks that turn the direction of text, invisible ones, and halves of surrogate pairs.
# The joiners U+200C and U+200D are left alone: emoji and several scripts are spelled with them.
MARK = (
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
# England's flag is a black flag and tags: one picture, not hidden text.
FLAG_OR_MARKS = re.compile(f"(\U0001f3f4[\U000e0020-\U000e007f]+)|({MARK})\\2*")


@dataclass(frozen=True)
class Words:
    """A text, or JSON laid out for people. `head` is what is seen of it while it is folded, empty when it is short.

    `whole`: the JSON of which `text` is the part to read; None when `text` is all there is.
    """

    form: str  # "text", "json", "erased", or "unknown": recalled, and told without what was said
    text: str
    cut: int = 0  # characters that are not shown
    whole: Words | None = None

    @property
    def length(self) -> int:
        return len(self.text) + self.cut

    @property
    def head(self) -> str:
        lines = self.text[:FOLD_CHARACTERS].split("\n")
        if len(self.text) <= FOLD_CHARACTERS and len(lines) <= FOLD_LINES:
            return ""
        return "\n".join(lines[:FOLD_LINES])


@dataclass(frozen=True)
class Attachment:
    """An image, audio, video or file. Whatever its payload does not tell properly is empty, or None."""

    form: str
    url: str
    name: str = ""
    content_type: str = ""
    size: int | None = None  # bytes
    width: int | None = None
    height: int | None = None
    duration: float | None = None  # seconds
    # Whom a browser would ask for it; empty when the address is none that may be opened.
    host: str = ""
    # Whether the console shows it itself: its origin is one of those that the operator named.
    may_load: bool = False

    @property
    def href(self) -> str:
        """The address as a link has it: applications write file names into it as they are, spaces included."""
        return _without_spaces(self.url)

    @property
    def may_be_allowed(self) -> bool:
        """Whether Django admin would take its origin (`models.MEDIA_ORIGIN`)."""
        return self.href.lower().startswith("https://")


def read(raw: str, media_origins: Collection[str] = ()) -> Words | Attachment:
    """What to show of the message whose JSON text is `raw`; it is empty once it was erased on request."""
    if not raw:
        return Words("erased", _("Text erased on request"))
    try:
        data = value_of(raw.strip())
    except ValueError:
        return _words("json", raw)
    return read_value(data, raw, media_origins)


def read_value(data: Any, raw: str, media_origins: Collection[str] = ()) -> Words | Attachment:
    """`read()`, for whom the value of `raw` is at hand."""
    if isinstance(data, str):
        return _words("json", raw)
    if isinstance(data, dict) and data.get("payload") in (None, "", {}) and recall_mark(data):
        return Words("unknown", _("Text not known: GoEasy tells of it only that it was recalled."))
    if not isinstance(data, dict) or "payload" not in data:
        return _formatted(data, raw)
    # A payload may be JSON inside a string.
    kind, payload = data.get("type"), object_of(data["payload"]) or data["payload"]
    if kind == "text":
        text = payload.get("text") if isinstance(payload, dict) else payload
        if isinstance(text, str):
            return _words("text", text)
    elif kind in ATTACHMENTS and isinstance(payload, dict):
        if attachment := _attachment(kind, payload, media_origins):
            return attachment
    elif isinstance(payload, str):
        return _words("text", payload)
    whole = _formatted(payload, raw)
    if isinstance(payload, dict) and (headline := _headline(payload)):
        return replace(_words("text", headline), whole=whole)
    return whole


def _headline(payload: dict[str, Any]) -> str:
    """The part of a payload that is meant to be read; empty when it has none."""
    texts = (payload.get(name) for name in HEADLINES)
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")


def text_of(shown: Words | Attachment) -> str:
    """What there is to read of it: its words, all of its JSON, or an attachment's name and address.

    Nothing of what was recalled before anybody could read it.
    """
    if isinstance(shown, Words):
        return "" if shown.form == "unknown" else (shown.whole or shown).text
    return "\n".join(part for part in (shown.name, shown.url) if part)


def headline_of(shown: Words | Attachment) -> str:
    """What a person reads of it first."""
    return shown.text if isinstance(shown, Words) else text_of(shown)


def excerpt(shown: Words | Attachment, length: int = 80) -> str:
    """One line that tells the message from others."""
    text = shown.text[: 4 * length] if isinstance(shown, Words) else f"[{shown.form}] {shown.name or shown.url}"
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


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


def _words(form: str, text: str) -> Words:
    return Words(form, text[:MOST_CHARACTERS], max(0, len(text) - MOST_CHARACTERS))


def _formatted(value: Any, raw: str) -> Words:
    try:
        return _words("json", json.dumps(value, ensure_ascii=False, indent=2))
    except ValueError:
        return _words("json", raw)


def _attachment(kind: str, payload: dict[str, Any], media_origins: Collection[str]) -> Attachment | None:
    """The attachment that `payload` describes, or None when it has no address."""
    about = (object_of(payload.get("video")) if kind == "video" else {}) or payload
    url = about.get("url")
    if not isinstance(url, str) or not url:
        return None
    host, origin = _host_and_origin(url)
    return Attachment(
        form=kind,
        url=url,
        name=_text(about.get("name")) or _text(payload.get("name")),
        content_type=_text(about.get("contentType")),
        size=_whole(about.get("size")),
        width=_whole(about.get("width")),
        height=_whole(about.get("height")),
        duration=_seconds(about.get("duration")),
        host=host,
        may_load=bool(origin) and origin in media_origins and kind != "file",
    )


def _without_spaces(url: str) -> str:
    """`url` as a browser would send it, were it typed there: it drops the spaces around, and escapes those within."""
    return url.strip(" ").replace(" ", "%20")


def _host_and_origin(url: str) -> tuple[str, str]:
    """Host and origin of an http(s) address; two empty texts for anything else."""
    url = _without_spaces(url)
    if len(url) > MOST_URL_CHARACTERS or not ADDRESS.fullmatch(url) or re.search(MARK, url):
        return "", ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", ""
    default = {"http": 80, "https": 443}[parts.scheme]
    name = host if port in {None, default} else f"{host}:{port}"
    return name, f"{parts.scheme}://{name}"


def _text(value: Any) -> str:
    """The beginning of a text of which something is seen."""
    return value[:255] if isinstance(value, str) and not is_blank(value) else ""


def _whole(value: Any) -> int | None:
    number = whole_number(value)
    return number if number is not None and number < 2**53 else None


def _seconds(value: Any) -> float | None:
    number = decimal_number(value)
    return number if number is not None and number < 10**7 else None
