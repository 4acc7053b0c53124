"""What the audit log can be narrowed to, in Django admin's list and in exports."""

import re
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any

from django import forms
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from moderation.audit.models import Action
from moderation.audit.requests import COMMAND_LINE, NOBODY, WORKER
from moderation.read_only_admin import FilterForm

# Of an entry: what the list is sorted by.
Key = dict[str, Any] | None
NO_CODE = "none"
# What GoEasy documents (200, 401), and what else is met often enough to deserve a box.
COMMON_CODES = ("200", "400", "401", "429", "500")
# SQLite bounds how long a condition may be, and gunicorn an address (`gunicorn.conf.py`): as many pairs of UUIDs fit
# into it with every box ticked, and what is too much fits, too, so that the form can say so.
MOST_CONVERSATIONS = 50
MOST_OF_CONVERSATIONS = 4000
# How `Conversation.ids` writes a pair: what a person copies from the console can be pasted into the filter.
PAIR = " ↔ "


# Choices come from small tables, never from the log: it only grows (architecture.md, invariant 8).
def actors() -> list[tuple[str, str]]:
    """Everybody who can sign in, by user name; visitors, whoever has a shell on the machine, and the worker."""
    names = get_user_model().objects.order_by("username").values_list("username", flat=True)
    return [(name, name) for name in (*names, NOBODY, COMMAND_LINE, WORKER)]


def applications() -> list[tuple[str, str]]:
    """Every application's short name and name."""
    # Named by label: the audit log imports no other app of the console.
    rows = apps.get_model("applications", "Application")._default_manager.order_by("slug")
    return [(slug, f"{name} ({slug})") for slug, name in rows.values_list("slug", "name")]


def words(text: str) -> list[str]:
    """What commas (of either width), spaces and new lines separate."""
    return [word for word in re.split(r"[\s,，、;；]+", text) if word]


def several(label: Any, choices: Any) -> forms.MultipleChoiceField:
    """A filter by check boxes, any number of them."""
    return forms.MultipleChoiceField(label=label, choices=choices, required=False, widget=forms.CheckboxSelectMultiple)


class TimeField(forms.DateTimeField):
    """A time in the reader's zone that is a time in UTC, as databases keep it, too: not before the year 1 there.

    Where clocks are put forward at midnight a day begins with a time that none shows, and where they are put back, with
    one that they show twice; Django takes neither. As in RFC 5545 (3.3.5) the former counts from before the gap, and
    the latter is the first.
    """

    def to_python(self, value: Any) -> datetime | None:
        try:
            given = parse_datetime(value.strip()) if isinstance(value, str) else None
            at = super().to_python(timezone.make_aware(given) if given and timezone.is_naive(given) else value)
            return at and at.astimezone(UTC)
        except (OverflowError, ValueError):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None


def time_field(label: Any, help_text: Any) -> forms.DateTimeField:
    """A filter by time in the reader's zone."""
    return TimeField(
        label=label,
        help_text=help_text,
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S"),
    )


class AuditFilter(FilterForm):
    """What the list and the export can be narrowed to; every filter takes several values."""

    action = several(_("Action"), Action.choices)
    response_code = several(_("Response code"), [*((code, code) for code in COMMON_CODES), (NO_CODE, _("none"))])
    other_codes = forms.CharField(
        label=_("Other response codes"), help_text=_("Separated by commas."), required=False, max_length=500
    )
    actor = several(_("Actor"), actors)
    other_actors = forms.CharField(
        label=_("Other actors"),
        help_text=_("User names of people who are gone, separated by commas."),
        required=False,
        max_length=2000,
    )
    app = several(_("Application"), applications)
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
        max_length=MOST_OF_CONVERSATIONS,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    since = time_field(_("From"), "")
    until = time_field(_("To"), _("Not included."))
    recall = forms.UUIDField(label=_("Recall"), help_text=_("Its id."), required=False)

    def clean_other_codes(self) -> list[int]:
        codes = words(self.cleaned_data["other_codes"])
        for code in codes:
            if not re.fullmatch(r"-?[0-9]{1,18}", code):
                raise forms.ValidationError(_("“%(code)s” is not a whole number."), params={"code": code})
        return [int(code) for code in codes]

    def clean_other_actors(self) -> list[str]:
        return words(self.cleaned_data["other_actors"])

    def clean_other_apps(self) -> list[str]:
        return words(self.cleaned_data["other_apps"])

    def clean_conversation(self) -> list[str]:
        lines = [line.strip() for line in self.cleaned_data["conversation"].splitlines() if line.strip()]
        if len(lines) > MOST_CONVERSATIONS:
            raise forms.ValidationError(_("Give at most %(most)d ids."), params={"most": MOST_CONVERSATIONS})
        return lines

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        since, until = data.get("since"), data.get("until")
        if since and until and since >= until:
            self.add_error("until", _("This must be later than the time in “From”."))
        return data

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        for alternatives in self.alternatives():
            rows = rows.filter(reduce(or_, alternatives))
        return self.narrow_further(rows)

    def narrow_further(self, rows: QuerySet[Any], before: Key = None, after: Key = None) -> QuerySet[Any]:
        """What the filters with one value ask.

        Of a page that begins `before` or `after` a key, what that asks already is left out: SQLite goes into an index
        with one bound to either side, and not always with the closer one.
        """
        data = self.cleaned_data
        if data["since"] and not (after and after["at"] >= data["since"]):
            rows = rows.filter(at__gte=data["since"])
        if data["until"] and not (before and before["at"] < data["until"]):
            rows = rows.filter(at__lt=data["until"])
        if data["recall"]:
            rows = rows.filter(recall=data["recall"])
        return rows

    def alternatives(self) -> list[list[Q]]:
        """For each filter that may have several values, a condition for each of them: an index finds each in order."""
        data = self.cleaned_data
        codes = [None if code == NO_CODE else int(code) for code in data["response_code"]]
        wanted = [
            [Q(actor=name) for name in [*data["actor"], *data["other_actors"]]],
            [Q(action=action) for action in data["action"]],
            [Q(app=app) for app in [*data["app"], *data["other_apps"]]],
            [Q(response_code=code) for code in [*codes, *data["other_codes"]]],
            [],
        ]
        for line in data["conversation"]:
            wanted[-1] += [Q(group_id=line), Q(user_a=line), Q(user_b=line)]
            user_a, found, user_b = line.partition(PAIR)
            if found:
                wanted[-1] += [Q(user_a=user_a, user_b=user_b), Q(user_a=user_b, user_b=user_a)]
        return [alternatives for alternatives in wanted if alternatives]

    def branches(self, rows: QuerySet[Any], before: Key, after: Key) -> list[QuerySet[Any]]:
        """`narrow` as parts, which may overlap, such that the newest of each are found without sorting the rest.

        “The newest where x is a or b” has a database read the log from its end, or sort all that it finds; the newest
        of a and the newest of b are each at the end of an index.
        """
        most, *others = sorted(self.alternatives(), key=len, reverse=True) or [[Q()]]
        for alternatives in others:
            rows = rows.filter(reduce(or_, alternatives))
        rows = self.narrow_further(rows, before, after)
        # Without “a or b” beside each, or the index alone would not tell.
        return [rows.filter(alternative) for alternative in most]

    def asked(self) -> dict[str, list[str]]:
        """The valid form's filters as they were given, but times in UTC: whoever reads them may be in another zone."""
        given = {name: values for name, values in self.data.lists() if name in self.fields and any(values)}  # type: ignore[attr-defined]
        times = {name: self.cleaned_data[name] for name in ("since", "until")}
        return given | {name: [at.isoformat()] for name, at in times.items() if at}
