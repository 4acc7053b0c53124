"""The filters of a search as chips: each says what it narrows to, and is a link to the search without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from moderation.archive.templatetags.moments import local
from moderation.search.forms import MessageFilter

# Where a page of results begins: another search begins at its own.
PLACES = ("after", "before")
FILTERS = sorted({*MessageFilter.base_fields, "needs"})


@dataclass(frozen=True)
class Chip:
    """One value of one filter. `address`: the query string without it, beginning with "?"."""

    label: str | Promise
    text: str
    address: str


def chips_of(form: MessageFilter, query: QueryDict) -> list[Chip]:
    """The chips of a validated `form`, in the order of its fields. What narrows nothing has none."""
    chips = [
        Chip(form.fields[name].label or "", text, without(query, name, value))
        for name in ("app", "sender", "type", "recalled", "since", "until")
        for value, text in _values(form, name)
    ]
    if form.cleaned_data.get("loosely") and form.cleaned_data.get("q"):
        chips.append(Chip("", _("Ignore spaces and signs"), without(query, "loosely")))
    return chips


def _values(form: MessageFilter, name: str) -> list[tuple[str, str]]:
    """Pairs of a value as the query has it ("" for the only one) and as people read it."""
    cleaned: Any = form.cleaned_data.get(name)
    if not cleaned:
        return []
    if name in {"since", "until"}:
        at = local(cleaned)
        return [("", f"{at:%Y-%m-%d %H:%M:%S}" if at else str(cleaned))]
    if name == "app":
        return [(application.slug, str(application)) for application in cleaned]
    words = dict(MessageFilter.base_fields["recalled"].choices) if name == "recalled" else {}  # type: ignore[attr-defined]
    return [(value, str(words.get(value, value))) for value in cleaned]


def without(query: QueryDict, name: str, value: str = "") -> str:
    """The query string without `value` of the filter `name`, or without the whole filter."""
    rest = query.copy()
    rest.setlist(name, [other for other in rest.getlist(name) if value and other != value])
    for place in PLACES:
        rest.pop(place, None)
    return f"?{rest.urlencode()}"


def filters_in(query: QueryDict) -> str:
    """The query string of the filters alone, in one order: what a saved search keeps and is known by."""
    kept = QueryDict(mutable=True)
    for name in FILTERS:
        kept.setlist(name, [value for value in query.getlist(name) if value])
    return kept.urlencode()
