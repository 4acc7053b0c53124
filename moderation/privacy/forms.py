"""The form that confirms an erasure."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from moderation.privacy.erasure import MAX_REASON_LENGTH


class ErasureForm(forms.Form):
    """Reason for an erasure, whether to erase moderators' notes as well, and the sender's id, typed to confirm."""

    reason = forms.CharField(
        label=_("Why"),
        max_length=MAX_REASON_LENGTH,
        help_text=_(
            "A code or the request’s reference. It stays in the audit log for ever: no names, nothing of the text."
        ),
    )
    notes = forms.BooleanField(
        label=_("Also what moderators noted about recalls of these messages"),
        required=False,
    )
    typed = forms.CharField(
        label=_("Type the sender’s id to confirm"), strip=False, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )

    def __init__(self, *args: Any, sender_id: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sender_id = sender_id

    def clean_typed(self) -> str:
        """Require the exact sender's id."""
        if self.cleaned_data["typed"] != self.sender_id:
            raise ValidationError(_("This is not the sender’s id."))
        return self.sender_id
