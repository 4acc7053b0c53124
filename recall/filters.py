"""What narrows the list of recalls."""

from django import forms
from django.utils.translation import gettext_lazy as _

from moderation.accounts.models import User
from moderation.applications.models import Application
from moderation.archive.models import Conversation
from recall.models import Recall, RecallBatch

OUTCOMES = [
    RecallBatch.State.ACCEPTED,
    RecallBatch.State.REFUSED,
    RecallBatch.State.UNKNOWN,
    RecallBatch.State.CANCELLED,
]


class RecallFilter(forms.Form):
    """The list's filters; each takes several values. What cannot be understood narrows nothing."""

    state = forms.MultipleChoiceField(
        label=_("State"), choices=Recall.State.choices, required=False, widget=forms.CheckboxSelectMultiple
    )
    outcome = forms.MultipleChoiceField(
        label=_("Outcome of a request"),
        choices=[(state.value, state.label) for state in OUTCOMES],
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    actor = forms.ModelMultipleChoiceField(
        label=_("Requested by"),
        queryset=User.objects.order_by("username"),
        to_field_name="username",
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    conversation = forms.ModelChoiceField(
        queryset=Conversation.objects.select_related("application"), required=False, widget=forms.HiddenInput
    )
    app = forms.ModelMultipleChoiceField(
        label=_("Application"),
        queryset=Application.objects.all(),
        to_field_name="slug",
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
