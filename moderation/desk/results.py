"""Results of the palette, and the text that they are for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import ngettext

from moderation.applications.models import Application
from moderation.goeasy.client import MAX_ID_LENGTH
from moderation.search.normalise import normalise

# The names that are compared are mostly the same ones for every text.
normalised_name = lru_cache(maxsize=5_000)(normalise)


@dataclass(frozen=True)
class Line:
    """A result: its address, and the object that it shows.

    `is_exact`: the text is its whole id or name. `opens`: the plain page opens it when no other result does.
    `pieces`: a message's excerpt. `earlier_name`: the name by which a person was found, when it is not the present one.
    """

    address: str
    thing: Any
    is_exact: bool = False
    opens: bool = False
    pieces: Sequence[tuple[str, bool]] = ()
    earlier_name: str = ""


@dataclass(frozen=True)
class Group:
    """Results of one kind. `more`: the address with all of them, when they are not all here."""

    name: str
    title: str | Promise
    lines: list[Line]
    more: str = ""


@dataclass(frozen=True)
class Results:
    """What `text` may mean. `problem`: why nothing was looked for; `note`: what to know about the text."""

    text: str
    groups: list[Group] = field(default_factory=list)
    problem: str = ""
    note: str = ""
    many_apps: bool = False

    @property
    def summary(self) -> str:
        """What a screen reader says of the results."""
        number = sum(len(group.lines) for group in self.groups)
        return self.problem or ngettext("%(number)d result", "%(number)d results", number) % {"number": number}

    @property
    def finds_something(self) -> bool:
        """Whether anything matches, besides a conversation that only GoEasy may know."""
        return any(group.name != "opening" for group in self.groups)

    @property
    def search_first(self) -> bool:
        """Whether to search is the best that there is to offer."""
        return bool(self.search) and not self.finds_something and "/" not in self.text

    @property
    def search(self) -> str:
        """Address of the search page for the text; empty when that cannot search for it."""
        return search_page(self.text) if self.text and len(self.text) <= MAX_ID_LENGTH and not self.problem else ""

    @property
    def has_more(self) -> bool:
        """Whether a group leads to the search page itself."""
        return any(group.more == self.search for group in self.groups)

    @property
    def only(self) -> str:
        """The address of the only result that the plain page opens; empty when there are several, or none."""
        opening = [line.address for group in self.groups for line in group.lines if line.opens]
        return opening[0] if len(opening) == 1 else ""


@dataclass(frozen=True)
class Lookup:
    """What is looked for, how many results of each kind are shown, and the applications to look in."""

    text: str
    shown: int
    applications: Sequence[Application]

    @cached_property
    def needle(self) -> str:
        """The normalised text; empty when nothing of it is seen."""
        return normalise(self.text)

    def is_in(self, name: str) -> bool:
        return bool(self.needle) and self.needle in normalised_name(name)

    def equals(self, name: str) -> bool:
        return bool(self.needle) and self.needle == normalised_name(name)


def search_page(text: str) -> str:
    return f"{reverse('conversations')}?{urlencode({'q': text})}"
