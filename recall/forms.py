"""Forms of recalls and sweeps: text in, the domain's types out (a target, a sorted tuple of ms, a reason)."""

from __future__ import annotations

import time
import uuid
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from moderation.accounts.models import User
from moderation.applications.models import Application
from moderation.applications.recaller_data import NOT_PLAIN, is_plain
from moderation.archive.forms import ConversationForm, MomentField
from moderation.goeasy.answers import json_value
from moderation.goeasy.client import MAX_ID_LENGTH, MAX_RECALLER_DATA_BYTES, Recaller
from moderation.goeasy.errors import InvalidCall
from moderation.json_depth import nests_too_deeply
from recall.models import MAX_NOTE_LENGTH, MAX_TIMESTAMPS, RecallReason
from recall.services import is_overridden, plan, recaller_for
from recall.timestamps import FULL_WIDTH, parse_timestamps

# Above this many timestamps the count has to be typed before they go.
TYPED_COUNT_ABOVE = 20

TIMESTAMP_PROBLEMS: dict[str, str | Promise] = {
    "not_whole": _("is not a whole number"),
    "seconds": _("has 10 digits, so it is in seconds; give milliseconds, 13 digits"),
    "digits": _("does not have the 13 digits of milliseconds since 1970"),
    "future": _("lies more than a day in the future"),
}


class TimestampsWidget(forms.Textarea):
    """Reads ticked boxes and a pasted list under one name: any number of values, each any text."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> str:
        return "\n".join(data.getlist(name)) if hasattr(data, "getlist") else str(data.get(name) or "")


class TimestampsField(forms.CharField):
    """Timestamps in ms, in any notation; after cleaning, `dropped` has messages about duplicates."""

    widget = TimestampsWidget

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, **kwargs)
        self.dropped: list[str] = []

    def clean(self, value: Any) -> tuple[int, ...]:
        """The distinct timestamps, ascending. Raises ValidationError that names the first few bad pieces."""
        parsed = parse_timestamps([value or ""], now_ms=time.time_ns() // 1_000_000)
        if parsed.rejected:
            shown = [
                _("“%(piece)s” %(problem)s.") % {"piece": piece[:40], "problem": TIMESTAMP_PROBLEMS[problem]}
                for piece, problem in parsed.rejected[:5]
            ]
            if len(parsed.rejected) > len(shown):
                more = len(parsed.rejected) - len(shown)
                shown.append(ngettext("%(more)d more like these.", "%(more)d more like these.", more) % {"more": more})
            raise ValidationError(shown, code="timestamps")
        if not parsed.timestamps:
            raise ValidationError(
                _("Choose at least one message, or paste its timestamp (13 digits)."), code="required"
            )
        if len(parsed.timestamps) > MAX_TIMESTAMPS:
            raise ValidationError(
                _("These are %(count)d messages; one recall takes at most %(most)d. Split them."),
                code="too_many",
                params={"count": len(parsed.timestamps), "most": MAX_TIMESTAMPS},
            )
        if parsed.duplicates:
            self.dropped = [
                ngettext(
                    "%(count)d timestamp was given twice and counts once.",
                    "%(count)d timestamps were given twice and count once.",
                    parsed.duplicates,
                )
                % {"count": parsed.duplicates}
            ]
        return parsed.timestamps


class NoteField(forms.CharField):
    """A note for the audit log. A line break counts as one character, as in the browser."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            **{
                "label": _("Note"),
                "max_length": MAX_NOTE_LENGTH,
                "widget": forms.Textarea(attrs={"rows": 3}),
                "help_text": _("For the audit log; app users never see it."),
                **kwargs,
            }
        )

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).replace("\r\n", "\n")


class DecisionForm(forms.Form):
    """A person's decision on calls whose outcome history does not prove."""

    decision = forms.ChoiceField(
        label=_("Decision"),
        choices=[("again", _("send them again")), ("leave", _("leave as is"))],
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose one: send them again, or leave as is.")},
    )
    note = NoteField(
        help_text=_("Why you decide so, for the audit log; app users never see it."),
        error_messages={"required": _("Write a note: why do you decide so?")},
    )


class RecallingForm(forms.Form):
    """Fields of every form that takes messages back: the reason, and the recaller that clients see."""

    reason = forms.ModelChoiceField(
        label=_("Reason"),
        queryset=RecallReason.objects.filter(is_active=True),
        to_field_name="code",
        empty_label=_("Choose a reason"),
        error_messages={"invalid_choice": _("There is no such reason, or it is no longer available. Choose another.")},
    )
    note = NoteField(required=False)
    recaller_id = forms.CharField(
        label=_("Recaller id"),
        max_length=MAX_ID_LENGTH,
        required=False,
        help_text=_("App users see it. Leave it empty to name nobody."),
    )
    recaller_data = forms.CharField(
        label=_("Recaller data"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_('A JSON object that app users see, such as {"name": "Support"}.'),
    )
    submission = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
    typed_count = forms.CharField(label=_("Number of messages"), required=False)
    # What the review showed (`moderation.reviewed`); on every other page it is empty.
    shown = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, actor: User, **kwargs: Any) -> None:
        """`actor`: who recalls. Only some may have app users shown something else than their pseudonym."""
        super().__init__(*args, **kwargs)
        self.actor = actor
        self.may_override = actor.has_perm("recall.override_recaller")
        if not self.may_override:
            del self.fields["recaller_id"], self.fields["recaller_data"]

    def clean_recaller_data(self) -> dict[str, Any] | None:
        """A JSON object of at most 2 KB, or None when left empty."""
        return self._parse_data(self.cleaned_data["recaller_data"])

    def _parse_data(self, text: str) -> dict[str, Any] | None:
        text = text.strip()
        if not text:
            return None
        if text.startswith("{") and nests_too_deeply(text):
            raise ValidationError(NOT_PLAIN, code="json")
        try:
            data = json_value(text)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise ValidationError(_('This is not a JSON object. Write it like {"name": "Support"}.'), code="json")
        if not is_plain(data):
            raise ValidationError(NOT_PLAIN, code="json")
        return data

    def clean(self) -> dict[str, Any]:
        """Adds `recaller`: None when nothing is named, so that the field is left out of the call.

        It is the person's usual one where the fields were not sent. `is_overridden`: it is another than that.
        """
        cleaned = super().clean() or {}
        posts_recaller = "recaller_id" in self.data or "recaller_data" in self.data
        if (application := cleaned.get("app")) is None:
            return cleaned
        if not self.may_override or not posts_recaller:
            cleaned["recaller"] = recaller_for(self.actor, application)
            if posts_recaller and self._posts_another_recaller(application):
                raise ValidationError(
                    _("Only a lead may change what app users see of you. Leave it as it is, or ask a lead."),
                    code="recaller",
                )
        elif "recaller_data" in cleaned and "recaller_id" in cleaned:
            try:
                recaller = Recaller(cleaned["recaller_id"], cleaned["recaller_data"])
                cleaned["recaller"] = recaller if recaller.as_field() else None
            except InvalidCall as problem:
                if problem.field.endswith("data"):
                    message = _("The recaller data is over %(most)d bytes, or no JSON that can be sent: shorten it.")
                    self.add_error("recaller_data", message % {"most": MAX_RECALLER_DATA_BYTES})
                else:
                    self.add_error("recaller_id", str(problem))
        if "recaller" in cleaned:
            cleaned["is_overridden"] = is_overridden(cleaned["recaller"], self.actor, application)
        return cleaned

    def _posts_another_recaller(self, application: Application) -> bool:
        """Whether what was sent for fields that the form does not offer is not the person's usual recaller."""
        try:
            data = self._parse_data(self.data.get("recaller_data") or "")
            posted = Recaller(self.data.get("recaller_id") or "", data)
        except (ValidationError, InvalidCall):
            return True
        return is_overridden(posted, self.actor, application)

    def is_typed(self, expected: int) -> bool:
        """Whether the typed number is `expected`; adds the error when it is not. Asked only on confirmation."""
        if self.cleaned_data["typed_count"].translate(FULL_WIDTH).strip() == str(expected):
            return True
        self.add_error("typed_count", _("Type %(count)d to confirm the number of messages.") % {"count": expected})
        return False


class RecallForm(ConversationForm, RecallingForm):
    """Everything one recall needs. `needs_count` tells whether the number has to be typed before it goes."""

    timestamps = TimestampsField(
        label=_("Timestamps"),
        help_text=_("Milliseconds since 1970, 13 digits each; separated by spaces, commas or new lines."),
    )

    @property
    def timestamps_field(self) -> TimestampsField:
        field = self.fields["timestamps"]
        assert isinstance(field, TimestampsField)  # noqa: S101 - for the type checker
        return field

    @property
    def dropped(self) -> list[str]:
        """Messages about dropped duplicates."""
        return self.timestamps_field.dropped

    @property
    def calls(self) -> int:
        """How many calls to GoEasy a valid form would make."""
        return len(plan(self.cleaned_data["timestamps"]))

    @property
    def needs_count(self) -> bool:
        """Whether the number of timestamps has to be typed to confirm."""
        return len(self.cleaned_data.get("timestamps", ())) > TYPED_COUNT_ABOVE

    def clean_count(self) -> bool:
        """Whether the number was typed, if it has to be; adds the error when it was not."""
        return not self.needs_count or self.is_typed(len(self.cleaned_data["timestamps"]))


class SweepForm(RecallingForm):
    """Everything a sweep needs."""

    app = forms.ModelChoiceField(
        label=_("Application"), queryset=Application.objects.all(), to_field_name="slug", empty_label=None
    )
    sender = forms.CharField(
        label=_("Sender's id"),
        max_length=MAX_ID_LENGTH,
        strip=False,
        help_text=_("As GoEasy knows the user: shown beside the name in every conversation."),
    )
    since = MomentField(label=_("From"))
    until = MomentField(label=_("Until"), ends=True)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if "since" in cleaned and "until" in cleaned and cleaned["since"] > cleaned["until"]:
            self.add_error("until", _("This is before “From”. Exchange the two."))
        return cleaned
