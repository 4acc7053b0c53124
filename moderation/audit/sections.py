"""What other apps add to an entry's page: the log itself knows of no conversation and no message."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest

from moderation.audit.models import AuditEntry

# Returns HTML for the page of an entry, or nothing.
Section = Callable[[HttpRequest, AuditEntry], str]

_sections: list[Section] = []


def register_section(section: Section) -> None:
    """Add a section to the page of each entry; once."""
    if section not in _sections:
        _sections.append(section)


def sections_of(request: HttpRequest, entry: AuditEntry) -> list[str]:
    """The sections that the apps have for this entry."""
    return [html for section in _sections if (html := section(request, entry))]
