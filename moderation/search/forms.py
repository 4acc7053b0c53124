"""Filters of the conversation list and the message search."""

import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from moderation.applications.models import Application
from moderation.archive.forms import MomentField
from moderation.archive.messages import TYPES
from moderation.archive.models import Kind
from moderation.goeasy.client import MAX_ID_LENGTH
from moderation.search.query import Wanted

# Values accepted for one filter.
MAX_VALUES = 50


class AnyOf(forms.MultipleChoiceField):
    """Any number of arbitrary strings; empty ones are dropped."""

    def clean(self, value: Any) -> list[str]:
        texts = (text.replace("\0", "")[:MAX_ID_LENGTH] for text in value or () if text.strip())
        return list(dict.fromkeys(texts))[:MAX_VALUES]

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


class MessageFilter(ConversationFilter):
    """Filters of messages: those of conversations, with `q` searched in the text, and more."""

    # Filters that apply to messages only; the others apply to conversations as well.
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
    def type_choices(self) -> list[tuple[str, bool]]:
        """GoEasy's own types and the selected ones, each with whether it is selected."""
        selected = self.cleaned_data["type"]
        return [(name, name in selected) for name in dict.fromkeys((*TYPES, *selected))]

    @property
    def asks_for_messages(self) -> bool:
        """Whether a filter is set that applies to messages only."""
        return any(self.cleaned_data.get(name) for name in self.OF_MESSAGES)

    def wanted(self) -> Wanted:
        """The query for matching messages."""
        given = self.cleaned_data.get
        recalled = given("recalled") or []
        numbers = [text for text in given("conversation") or () if re.fullmatch("[0-9]{1,18}", text)]
        return Wanted(
            text=given("q") or "",
            loosely=bool(given("loosely")),
            senders=given("sender") or (),
            # Without a valid number nothing may match: no conversation has the number 0.
            conversations=[int(text) for text in numbers] or ([0] if given("conversation") else []),
            types=given("type") or (),
            kinds=given("kind") or (),
            applications=[application.pk for application in given("app") or ()],
            recalled=recalled == ["yes"] if len(recalled) == 1 else None,
            since=given("since"),
            until=given("until"),
        )
