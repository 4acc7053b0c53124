"""What images, audio, video and files have in common: a URL and a description of the file. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext_lazy as _

from moderation.archive.marks import MARK
from moderation.archive.messages.shown import Shown, one_line
from moderation.characters import is_blank
from moderation.goeasy.fields import decimal_number, whole_number

# Longer URLs are not linked, so that those of sixty images cannot fill the page.
MAX_URL_CHARACTERS = 2_000

# What a list of conversations calls each form.
LABELS = {"image": _("Picture"), "audio": _("Audio"), "video": _("Video"), "file": _("File")}

# A host and perhaps a port. No user names or backslashes, which browsers and this program parse differently.
ADDRESS = re.compile(r"https?://[\w.-]+(:\d{1,5})?([/?#][^\s\\]*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Attachment(Shown):
    """An image, audio, video or file. A missing or malformed field is empty, or None."""

    form: str
    url: str
    name: str = ""
    content_type: str = ""
    size: int | None = None  # bytes
    width: int | None = None
    height: int | None = None
    duration: float | None = None  # seconds
    # The host a browser would contact; empty when the URL must not be opened.
    host: str = ""
    # Whether the console may embed it: the operator allowed its origin.
    may_load: bool = False

    @property
    def searchable(self) -> str:
        return "\n".join(part for part in (self.name, self.url) if part)

    @property
    def headline(self) -> str:
        return self.searchable

    def line(self, length: int = 80) -> str:
        return one_line(f"[{self.form}] {self.name or self.url}", length)

    def snippet(self, length: int = 140) -> str:
        return one_line(f"[{LABELS.get(self.form, self.form)}] {self.name}", length)

    @property
    def href(self) -> str:
        """The URL for a link: applications put file names into it unescaped, spaces included."""
        return _without_spaces(self.url)

    @property
    def may_be_allowed(self) -> bool:
        """Whether the admin form would accept its origin (`models.MEDIA_ORIGIN`)."""
        return self.href.lower().startswith("https://")


def attachment(
    form: str, payload: Any, media_origins: Collection[str], *, about: dict[str, Any] | None = None
) -> Attachment | None:
    """The attachment that `payload` describes; None when it has no URL.

    `about`: the part of the payload that describes the file, when it is not the whole payload.
    """
    if not isinstance(payload, dict):
        return None
    about = about or payload
    url = about.get("url")
    if not isinstance(url, str) or not url:
        return None
    host, origin = _host_and_origin(url)
    return Attachment(
        form=form,
        url=url,
        name=_text(about.get("name")) or _text(payload.get("name")),
        content_type=_text(about.get("contentType")),
        size=_whole(about.get("size")),
        width=_whole(about.get("width")),
        height=_whole(about.get("height")),
        duration=_seconds(about.get("duration")),
        host=host,
        may_load=bool(origin) and origin in media_origins,
    )


def _without_spaces(url: str) -> str:
    """`url` as a browser would send it: without surrounding spaces, and with inner ones escaped."""
    return url.strip(" ").replace(" ", "%20")


def _host_and_origin(url: str) -> tuple[str, str]:
    """Host and origin of an http(s) URL; two empty strings for anything else."""
    url = _without_spaces(url)
    if len(url) > MAX_URL_CHARACTERS or not ADDRESS.fullmatch(url) or re.search(MARK, url):
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
    """The first 255 characters of a string that has visible characters; else an empty string."""
    return value[:255] if isinstance(value, str) and not is_blank(value) else ""


def _whole(value: Any) -> int | None:
    number = whole_number(value)
    return number if number is not None and number < 2**53 else None


def _seconds(value: Any) -> float | None:
    number = decimal_number(value)
    return number if number is not None and 0 <= number < 10**7 else None
