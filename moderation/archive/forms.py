"""What names a conversation, and what narrows the list of them."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from moderation.archive.models import Application, Conversation, Kind
from moderation.goeasy.client import MAX_ID_LENGTH, Group, Private
from moderation.goeasy.errors import InvalidCall


class ConversationFilter(forms.Form):
    """The list's filters; each takes several values. What cannot be understood narrows nothing."""

    q = forms.CharField(required=False, max_length=MAX_ID_LENGTH)
    kind = forms.MultipleChoiceField(
        label=_("Kind"), choices=Kind.choices, required=False, widget=forms.CheckboxSelectMultiple
    )
    app = forms.ModelMultipleChoiceField(
        label=_("Application"),
        queryset=Application.objects.all(),
        to_field_name="slug",
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )


class HoldForm(forms.Form):
    """Putting a conversation on hold, or ending that, and why."""

    held = forms.TypedChoiceField(choices=[("1", "1"), ("0", "0")], coerce=lambda text: text == "1")
    note = forms.CharField(max_length=2_000, error_messages={"required": _("Write a note: why?")})


class ConversationForm(forms.Form):
    """Which conversation: a pair of users or a group, of one application."""

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
        """Adds `target`. Named errors for one user without the other and for both kinds at once."""
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
        """The conversation that the form names, opened in the archive when it is new there."""
        return Conversation.objects.open(self.cleaned_data["app"], self.cleaned_data["target"])
