"""What images, audio, video and files have in common: an address, and what a payload tells of what is there. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from moderation.archive.marks import MARK
from moderation.archive.messages.shown import Shown, one_line
from moderation.characters import is_blank
from moderation.goeasy.fields import decimal_number, whole_number

# Longer addresses are no links: sixty images could fill the page with theirs.
MAX_URL_CHARACTERS = 2_000


# A host and perhaps a port. Neither user names nor backslashes: browsers and this program would read them differently.
ADDRESS = re.compile(r"https?://[\w.-]+(:\d{1,5})?([/?#][^\s\\]*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Attachment(Shown):
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
    def searchable(self) -> str:
        return "\n".join(part for part in (self.name, self.url) if part)

    @property
    def headline(self) -> str:
        return self.searchable

    def line(self, length: int = 80) -> str:
        return one_line(f"[{self.form}] {self.name or self.url}", length)

    @property
    def href(self) -> str:
        """The address as a link has it: applications write file names into it as they are, spaces included."""
        return _without_spaces(self.url)

    @property
    def may_be_allowed(self) -> bool:
        """Whether Django admin would take its origin (`models.MEDIA_ORIGIN`)."""
        return self.href.lower().startswith("https://")


def attachment(
    form: str, payload: Any, media_origins: Collection[str], *, about: dict[str, Any] | None = None
) -> Attachment | None:
    """The attachment that `payload` describes, or None when it has no address.

    `about`: the part of the payload that does so, where that is not all of it.
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
    """`url` as a browser would send it, were it typed there: it drops the spaces around, and escapes those within."""
    return url.strip(" ").replace(" ", "%20")


def _host_and_origin(url: str) -> tuple[str, str]:
    """Host and origin of an http(s) address; two empty texts for anything else."""
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
    """The beginning of a text of which something is seen."""
    return value[:255] if isinstance(value, str) and not is_blank(value) else ""


def _whole(value: Any) -> int | None:
    number = whole_number(value)
    return number if number is not None and number < 2**53 else None


def _seconds(value: Any) -> float | None:
    number = decimal_number(value)
    return number if number is not None and number < 10**7 else None
