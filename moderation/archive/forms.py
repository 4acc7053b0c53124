"""Forms that identify a conversation or put it on hold, and the field for times."""

import re
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from moderation.applications.models import Application
from moderation.archive.models import Conversation, Kind
from moderation.archive.templatetags.moments import local
from moderation.goeasy.client import MAX_ID_LENGTH, Group, Private
from moderation.goeasy.errors import InvalidCall

MILLISECONDS = re.compile("[0-9]{13}")


class MomentField(forms.DateTimeField):
    """A time in the user's zone, from a datetime-local input, or ms since the epoch from a link. Cleans to ms.

    `ends`: a time typed to the second means its last millisecond, as in "until 10:00:00".
    """

    widget = forms.DateTimeInput(format="%Y-%m-%dT%H:%M:%S", attrs={"type": "datetime-local", "step": "1"})

    def __init__(self, *, ends: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ends = ends

    def clean(self, value: Any) -> int | None:
        if isinstance(value, str) and MILLISECONDS.fullmatch(value):
            return int(value)
        try:
            at: datetime | None = super().clean(value)
            if at is None:
                return None
            return round(at.timestamp() * 1000) + (999 if self.ends and not at.microsecond else 0)
        except OverflowError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str) and MILLISECONDS.fullmatch(value):
            return local(int(value))
        return super().prepare_value(value)


class HoldForm(forms.Form):
    """Put a conversation on hold or end the hold, with a note."""

    held = forms.TypedChoiceField(choices=[("1", "1"), ("0", "0")], coerce=lambda text: text == "1")
    note = forms.CharField(max_length=2_000, error_messages={"required": _("Write a note: why?")})


class ConversationForm(forms.Form):
    """A conversation of one application: a pair of users, or a group."""

    app = forms.ModelChoiceField(
        label=_("Application"),
        queryset=Application.objects.all(),
        to_field_name="slug",
        empty_label=None,
    )
    kind = forms.ChoiceField(label=_("Kind"), choices=Kind.choices, widget=forms.RadioSelect)
    user_a = forms.CharField(label=_("One user's id"), max_length=MAX_ID_LENGTH, required=False, strip=False)
    user_b = forms.CharField(label=_("The other user's id"), max_length=MAX_ID_LENGTH, required=False, strip=False)
    group_id = forms.CharField(label=_("Group id"), max_length=MAX_ID_LENGTH, required=False, strip=False)

    def clean(self) -> dict[str, Any]:
        """Add `target`. Raises specific errors for one user without the other and for both kinds at once."""
        cleaned = super().clean() or {}
        if {"kind", "user_a", "user_b", "group_id"} - set(cleaned):
            return cleaned
        private = cleaned["kind"] == Kind.PRIVATE
        users = {name: cleaned[name] for name in ("user_a", "user_b")}
        if (private and cleaned["group_id"]) or (not private and any(users.values())):
            raise ValidationError(
                _("Give two user ids or one group id, not both: a recall concerns one conversation."),
                code="both_kinds",
            )
        for name, value in users.items() if private else [("group_id", cleaned["group_id"])]:
            if not value.strip():
                self.add_error(
                    name,
                    _("A private conversation needs both user ids.") if private else _("A group needs its id."),
                )
        if self.errors:
            return cleaned
        try:
            cleaned["target"] = Private(**users) if private else Group(cleaned["group_id"])
        except InvalidCall as problem:
            raise ValidationError(str(problem), code="target") from None
        return cleaned

    def conversation(self) -> Conversation:
        """Return the conversation that the form names, creating it when it is new."""
        return Conversation.objects.open(self.cleaned_data["app"], self.cleaned_data["target"])
