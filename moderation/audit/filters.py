"""Filters of the audit log, for Django admin's list and for exports."""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django import forms
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from moderation.audit.models import PAIR, Action, AuditEntry, AuditTerm
from moderation.audit.request_context import COMMAND_LINE, NOBODY, WORKER
from moderation.audit.terms import MAX_TERM, REQUEST_ID, SENDER, TIMESTAMP, term, whole_term, word_terms
from moderation.read_only_admin import FilterForm

# The fields of an entry that the list is sorted by.
Key = dict[str, Any] | None
NO_CODE = "none"
# The codes that GoEasy documents (200, 401) and other frequent ones get a check box each.
COMMON_CODES = ("200", "400", "401", "429", "500")
# SQLite limits the length of a condition, and gunicorn that of a URL (`gunicorn.conf.py`). This many pairs of UUIDs fit
# with every box ticked, and enough more that the form can report too many.
MAX_CONVERSATIONS = 50
MAX_CONVERSATIONS_LENGTH = 4000
MAX_TIMESTAMPS = 20


@dataclass(frozen=True)
class Terms:
    """A condition: the entry has all of these terms of the index."""

    terms: tuple[str, ...]

    def has_all(self, path: str) -> Q:
        """The condition, for rows whose entry is at `path` ("entry__"; empty for the entries themselves)."""
        found = Q()
        for each in self.terms:
            # The whole primary key of one row.
            found &= Q(Exists(AuditTerm.objects.filter(term=each, at=OuterRef("at"), entry=OuterRef(f"{path}id"))))
        return found


Alternative = Q | Terms


def condition(alternatives: list[Alternative], path: str = "") -> Q:
    """Any of `alternatives`, for rows whose entry is at `path`."""
    return reduce(
        or_, (each.has_all(path) if isinstance(each, Terms) else at_path(each, path) for each in alternatives)
    )


def at_path(of_entry: Q, path: str) -> Q:
    """A condition of entries for rows whose entry is at `path`; such rows have the entry's time, too."""
    moved = Q(_connector=of_entry.connector, _negated=of_entry.negated)
    for child in of_entry.children:
        if isinstance(child, Q):
            moved.children.append(at_path(child, path))
        else:
            name, value = child  # type: ignore[misc]
            moved.children.append((name if name.startswith("at__") else f"{path}{name}", value))
    return moved


# Choices come from small tables, never from the log: it only grows (docs/architecture.md, invariant 8).
def actors() -> list[tuple[str, str]]:
    """User names of all accounts, and the names for visitors, the command line and the worker."""
    names = get_user_model().objects.order_by("username").values_list("username", flat=True)
    return [(name, name) for name in (*names, NOBODY, COMMAND_LINE, WORKER)]


def applications() -> list[tuple[str, str]]:
    """Every application's short name and name."""
    # Named by label: the audit log imports no other app of the console.
    rows = apps.get_model("applications", "Application")._default_manager.order_by("slug")
    return [(slug, f"{name} ({slug})") for slug, name in rows.values_list("slug", "name")]


def split_values(text: str) -> list[str]:
    """Split a text at commas (of either width), semicolons and white space."""
    return [word for word in re.split(r"[\s,，、;；]+", text) if word]


def check_boxes(label: Any, choices: Any) -> forms.MultipleChoiceField:
    """Filter with a check box for each choice."""
    return forms.MultipleChoiceField(label=label, choices=choices, required=False, widget=forms.CheckboxSelectMultiple)


class TimeField(forms.DateTimeField):
    """Field for a time in the reader's zone that is also representable in UTC.

    Where clocks change at midnight, a day begins with a time that does not exist or that occurs twice; Django rejects
    both. As in RFC 5545 (3.3.5), the former is computed with the offset before the gap, and the latter is the first
    of the two.
    """

    def to_python(self, value: Any) -> datetime | None:
        try:
            given = parse_datetime(value.strip()) if isinstance(value, str) else None
            at = super().to_python(timezone.make_aware(given) if given and timezone.is_naive(given) else value)
            return at and at.astimezone(UTC)
        except (OverflowError, ValueError):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None


def named_by(line: str) -> list[Alternative]:
    """Conditions for the entries of a conversation: by its group, by one of its users, or by both (“a ↔ b”)."""
    wanted: list[Alternative] = [Q(group_id=line), Q(user_a=line), Q(user_b=line)]
    user_a, is_pair, user_b = line.partition(PAIR)
    if is_pair:
        wanted += [Q(user_a=user_a, user_b=user_b), Q(user_a=user_b, user_b=user_a)]
    return wanted


def found_by(text: str) -> list[Alternative]:
    """Conditions for what a text may be: a name, an id, a timestamp, or words of a searched field (`audit.terms`)."""
    wanted: list[Alternative] = [Q(actor=text), Q(app=text), *named_by(text)]
    wanted += [Terms((term(kind, text),)) for kind in (TIMESTAMP, SENDER, REQUEST_ID) if term(kind, text)]
    by_words = {(whole_term(text),), tuple(dict.fromkeys(word_terms(text)))}
    wanted += [Terms(terms) for terms in sorted(by_words) if terms and all(terms)]
    with suppress(ValueError):
        wanted.append(Q(recall=UUID(text)))
    return wanted


def time_field(label: Any, help_text: Any) -> forms.DateTimeField:
    """A filter by time in the reader's zone."""
    return TimeField(
        label=label,
        help_text=help_text,
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S"),
    )


class AuditFilter(FilterForm):
    """Form of the filters of the list and the export. Most accept several values."""

    # Above the list; the others are beside it.
    find = forms.CharField(label=_("Find"), required=False, max_length=MAX_TERM)
    timestamp = forms.CharField(
        label=_("Message timestamps"),
        help_text=_("In milliseconds, 13 digits; several separated by commas. Of a request, its outcome is found."),
        required=False,
        max_length=500,
    )
    sender = forms.CharField(
        label=_("Sender"),
        help_text=_("The user’s id: recalls requested of their messages, and erasures."),
        required=False,
        max_length=255,
    )
    request_id = forms.CharField(
        label=_("Request id"), help_text=_("X-Request-ID, as in the server’s log."), required=False, max_length=100
    )
    action = check_boxes(_("Action"), Action.choices)
    response_code = check_boxes(_("Response code"), [*((code, code) for code in COMMON_CODES), (NO_CODE, _("none"))])
    other_codes = forms.CharField(
        label=_("Other response codes"), help_text=_("Separated by commas."), required=False, max_length=500
    )
    actor = check_boxes(_("Actor"), actors)
    other_actors = forms.CharField(
        label=_("Other actors"),
        help_text=_("User names of people who are gone, separated by commas."),
        required=False,
        max_length=2000,
    )
    app = check_boxes(_("Application"), applications)
    other_apps = forms.CharField(
        label=_("Other applications"),
        help_text=_("Short names of applications that are gone, separated by commas."),
        required=False,
        max_length=500,
    )
    conversation = forms.CharField(
        label=_("Conversation"),
        help_text=_("Ids of users or groups, one a line."),
        required=False,
        max_length=MAX_CONVERSATIONS_LENGTH,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    since = time_field(_("From"), "")
    until = time_field(_("To"), _("Not included."))
    recall = forms.UUIDField(label=_("Recall"), help_text=_("Its id."), required=False)

    def clean_timestamp(self) -> list[int]:
        values = split_values(self.cleaned_data["timestamp"])
        if len(values) > MAX_TIMESTAMPS:
            raise forms.ValidationError(_("Give at most %(most)d timestamps."), params={"most": MAX_TIMESTAMPS})
        for value in values:
            if not re.fullmatch(r"[0-9]{1,19}", value):
                raise forms.ValidationError(
                    _("“%(value)s” is not a timestamp in milliseconds."), params={"value": value}
                )
        return [int(value) for value in values]

    def clean_other_codes(self) -> list[int]:
        codes = split_values(self.cleaned_data["other_codes"])
        for code in codes:
            if not re.fullmatch(r"-?[0-9]{1,18}", code):
                raise forms.ValidationError(_("“%(code)s” is not a whole number."), params={"code": code})
        return [int(code) for code in codes]

    def clean_other_actors(self) -> list[str]:
        return split_values(self.cleaned_data["other_actors"])

    def clean_other_apps(self) -> list[str]:
        return split_values(self.cleaned_data["other_apps"])

    def clean_conversation(self) -> list[str]:
        lines = [line.strip() for line in self.cleaned_data["conversation"].splitlines() if line.strip()]
        if len(lines) > MAX_CONVERSATIONS:
            raise forms.ValidationError(_("Give at most %(most)d ids."), params={"most": MAX_CONVERSATIONS})
        return lines

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        since, until = data.get("since"), data.get("until")
        if since and until and since >= until:
            self.add_error("until", _("This must be later than the time in “From”."))
        return data

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.filter(*(condition(alternatives) for alternatives in self.alternatives()), self.single())

    def single(self, before: Key = None, after: Key = None) -> Q:
        """The filters with a single value.

        A bound that the page's key (`before` or `after`) already implies is left out: SQLite uses one bound on each
        side of an index, and not always the closer one.
        """
        data, wanted = self.cleaned_data, Q()
        if data["since"] and not (after and after["at"] >= data["since"]):
            wanted &= Q(at__gte=data["since"])
        if data["until"] and not (before and before["at"] < data["until"]):
            wanted &= Q(at__lt=data["until"])
        if data["recall"]:
            wanted &= Q(recall=data["recall"])
        return wanted

    def alternatives(self) -> list[list[Alternative]]:
        """Conditions of each filter with several values, one for each value: an index returns each in order."""
        data = self.cleaned_data
        codes = [None if code == NO_CODE else int(code) for code in data["response_code"]]
        wanted: list[list[Alternative]] = [
            [Terms((term(TIMESTAMP, timestamp),)) for timestamp in data["timestamp"]],
            [Terms((term(SENDER, data["sender"]),))] if data["sender"] else [],
            [Terms((term(REQUEST_ID, data["request_id"]),))] if data["request_id"] else [],
            found_by(data["find"]) if data["find"] else [],
            [Q(actor=name) for name in [*data["actor"], *data["other_actors"]]],
            [Q(action=action) for action in data["action"]],
            [Q(app=app) for app in [*data["app"], *data["other_apps"]]],
            [Q(response_code=code) for code in [*codes, *data["other_codes"]]],
            [],
        ]
        for line in data["conversation"]:
            wanted[-1] += named_by(line)
        return [alternatives for alternatives in wanted if alternatives]

    def branches(self, before: Key, after: Key) -> list[tuple[QuerySet[Any], tuple[str, str]]]:
        """The result of `narrow` as querysets, which may overlap; the newest rows of each are read without a sort.

        Each has the names by which its rows are in the list's order: those of an entry, or of a term of the index. For
        “the newest where x is a or b” a database reads the log from its end or sorts all matches; the newest of a and
        the newest of b are each at the end of an index.
        """

        def by_terms_first(alternatives: list[Alternative]) -> tuple[bool, int]:
            # A term has few entries.
            return all(isinstance(each, Terms) for each in alternatives), len(alternatives)

        most, *others = sorted(self.alternatives(), key=by_terms_first, reverse=True) or [[Q()]]
        found: list[tuple[QuerySet[Any], tuple[str, str]]] = []
        # One value each: with “a or b” the index alone would not suffice.
        for each in most:
            path = "entry__" if isinstance(each, Terms) else ""
            rest = [
                *(condition(alternatives, path) for alternatives in others),
                at_path(self.single(before, after), path),
            ]
            if isinstance(each, Terms):
                terms: Any = AuditTerm.objects
                first, *more = each.terms
                found.append((terms.filter(Terms(tuple(more)).has_all(path), *rest, term=first), ("at", "entry_id")))
            else:
                entries: Any = AuditEntry.objects
                found.append((entries.filter(each, *rest), ("at", "id")))
        return found

    def given(self) -> dict[str, list[str]]:
        """The filters as entered, with times in UTC: they are read in other zones, too. The form must be valid."""
        values_given = {name: values for name, values in self.data.lists() if name in self.fields and any(values)}  # type: ignore[attr-defined]
        times = {name: self.cleaned_data[name] for name in ("since", "until")}
        return values_given | {name: [at.isoformat()] for name, at in times.items() if at}
