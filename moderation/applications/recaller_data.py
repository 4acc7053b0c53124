"""The form field for `recaller.data`, which reaches every client (docs/goeasy-api.md, "Recall")."""

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.translation import gettext_lazy as _

from moderation.goeasy.client import MAX_RECALLER_DATA_BYTES, Recaller
from moderation.goeasy.errors import InvalidCall
from moderation.json_depth import nests_too_deeply

MAX_DEPTH = 20
NOT_PLAIN = _("Keep it plain: no numbers over 15 digits, nothing nested deeper than 20.")


def is_plain(value: object, depth: int = MAX_DEPTH) -> bool:
    """Whether every database returns the JSON `value` unchanged: no huge numbers, no deep nesting."""
    if isinstance(value, dict):
        return depth > 0 and all(is_plain(part, depth - 1) for part in value.values())
    if isinstance(value, list):
        return depth > 0 and all(is_plain(part, depth - 1) for part in value)
    return not isinstance(value, (int, float)) or abs(value) < 10**15


# Fields of the form, and what they are called in the data.
PLAIN_FIELDS = {"recaller_name": "name", "recaller_avatar": "avatar"}


class RecallerFieldsMixin(forms.Form):
    """Fields for name and avatar beside the JSON that they are part of; the form has `recaller_data`, too.

    Of the two, what a person changed is saved; both changed to different values is an error.
    """

    recaller_name = forms.CharField(
        label=_("Name shown to app users"),
        required=False,
        max_length=200,
        help_text=_("For example Support."),
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )
    recaller_avatar = forms.CharField(
        label=_("Avatar shown to app users"),
        required=False,
        max_length=1_000,
        help_text=_("The address of a picture. Whether it is shown is up to the app."),
        widget=forms.TextInput(attrs={"class": "vTextField", "inputmode": "url", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = self.initial.get("recaller_data")
        for field, key in PLAIN_FIELDS.items():
            value = stored.get(key) if isinstance(stored, dict) else None
            self.initial.setdefault(field, value if isinstance(value, str) else "")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "recaller_data" not in cleaned or "recaller_data" not in self.fields:
            return cleaned
        data, stored = dict(cleaned["recaller_data"] or {}), self.initial.get("recaller_data") or {}
        for field, key in PLAIN_FIELDS.items():
            # A form without the field leaves the value as it is.
            if field not in self.changed_data or self.add_prefix(field) not in self.data or field not in cleaned:
                continue
            if data.get(key) != stored.get(key) and (data.get(key) or "") != cleaned[field]:
                self.add_error(field, _("It is something else in the recaller data below."))
            elif cleaned[field]:
                data[key] = cleaned[field]
            else:
                data.pop(key, None)
        try:
            cleaned["recaller_data"] = RecallerDataField().clean(json.dumps(data)) if data else None
        except ValidationError as error:
            self.add_error("recaller_data", error)
        return cleaned


class RecallerDataField(forms.JSONField):
    """A JSON object of at most 2 KB that `is_plain`; None when empty."""

    default_error_messages = {
        "invalid": _('This is not a JSON object. Write it like {"name": "Support"}.'),
        "plain": NOT_PLAIN,
        "size": _("The recaller data is over %(most)d bytes: shorten it, or leave it out."),
    }

    def __init__(self) -> None:
        super().__init__(
            label=_("Recaller data"),
            required=False,
            help_text=_('A JSON object that app users see, such as {"name": "Support"}. At most 2 KB.'),
            widget=forms.Textarea(attrs={"rows": 4, "class": "vLargeTextField"}),
        )

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        # Show the text as typed, because invalid JSON cannot be formatted.
        return initial if self.disabled else InvalidJSONInput(data or "")

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and nests_too_deeply(value.strip()):
            raise ValidationError(self.error_messages["plain"], code="plain")
        try:
            data = super().to_python(value)
            # NaN, lone surrogates and NUL cannot be stored by both databases.
            text = json.dumps(data, ensure_ascii=False, allow_nan=False)
            text.encode()
        except ValueError:
            text, data = "", False
        if (data is not None and not isinstance(data, dict)) or "\\u0000" in text:
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        if not is_plain(data):
            raise ValidationError(self.error_messages["plain"], code="plain")
        try:
            Recaller("", data or None)
        except InvalidCall:
            raise ValidationError(
                self.error_messages["size"], code="size", params={"most": MAX_RECALLER_DATA_BYTES}
            ) from None
        return data
