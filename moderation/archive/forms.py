"""What names a conversation, and what narrows the list of them and of messages."""

import re
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from moderation.archive.models import Application, Conversation, Kind
from moderation.archive.payloads import ATTACHMENTS
from moderation.archive.search import Wanted
from moderation.archive.templatetags.moments import local
from moderation.goeasy.client import MAX_ID_LENGTH, Group, Private
from moderation.goeasy.errors import InvalidCall

MILLISECONDS = re.compile("[0-9]{13}")
# Of one filter; more narrow nothing down.
MOST_VALUES = 50


class MomentField(forms.DateTimeField):
    """A time in the person's own zone, as a datetime-local field sends it; ms since the epoch in a link. Cleans to ms.

    `ends`: the last millisecond of what was typed to the second, as "until 10:00:00" is meant.
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


class AnyOf(forms.MultipleChoiceField):
    """Any number of texts, whichever they are; empty ones, of fields left empty, are none."""

    def clean(self, value: Any) -> list[str]:
        texts = (text.replace("\0", "")[:MAX_ID_LENGTH] for text in value or () if text.strip())
        return list(dict.fromkeys(texts))[:MOST_VALUES]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.clean(data))


class ConversationFilter(forms.Form):
    """The list's filters; each takes several values. What cannot be understood narrows nothing, but for `q`."""

    q = forms.CharField(
        required=False,
        max_length=MAX_ID_LENGTH,
        error_messages={
            "max_length": _(
                "Nothing was searched for: this text has %(show_value)d characters, and a search at most "
                "%(limit_value)d. Take a part of it."
            )
        },
    )
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


class MessageFilter(ConversationFilter):
    """What narrows messages: all that narrows conversations, `q` being in their text, and more."""

    # Those that ask for messages; the others ask for conversations just as well.
    OF_MESSAGES = ("sender", "conversation", "type", "recalled", "since", "until")

    loosely = forms.BooleanField(label=_("Ignore spaces and signs"), required=False)
    sender = AnyOf(label=_("Sender's id"), required=False)
    conversation = AnyOf(required=False)
    type = AnyOf(label=_("Type"), required=False)
    recalled = forms.MultipleChoiceField(
        label=_("Recalled"),
        choices=[("yes", _("recalled")), ("no", _("not recalled"))],
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    since = MomentField(label=_("From"), required=False)
    until = MomentField(label=_("Until"), ends=True, required=False)

    @property
    def known_types(self) -> list[tuple[str, bool]]:
        """GoEasy's own types, and those that are asked for; each with whether it is."""
        asked = self.cleaned_data["type"]
        return [(name, name in asked) for name in dict.fromkeys(("text", *ATTACHMENTS, *asked))]

    @property
    def asks_for_messages(self) -> bool:
        """Whether it narrows what conversations do not have."""
        return any(self.cleaned_data.get(name) for name in self.OF_MESSAGES)

    def wanted(self) -> Wanted:
        """The messages that pass."""
        given = self.cleaned_data.get
        recalled = given("recalled") or []
        numbers = [text for text in given("conversation") or () if re.fullmatch("[0-9]{1,18}", text)]
        return Wanted(
            text=given("q") or "",
            loosely=bool(given("loosely")),
            senders=given("sender") or (),
            # What is no number names no conversation, and none has the number 0.
            conversations=[int(text) for text in numbers] or ([0] if given("conversation") else []),
            types=given("type") or (),
            kinds=given("kind") or (),
            applications=[application.pk for application in given("app") or ()],
            recalled=recalled == ["yes"] if len(recalled) == 1 else None,
            since=given("since"),
            until=given("until"),
        )


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
