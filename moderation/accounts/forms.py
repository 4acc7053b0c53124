"""Preferences of a user."""

from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from moderation.accounts.models import User


class PreferencesForm(forms.ModelForm[User]):
    """Language, time zone, media, theme, and the time to cancel a recall."""

    language = forms.ChoiceField(
        label=_("Language"),
        required=False,
        choices=[("", _("browser default")), *settings.LANGUAGES],
    )
    timezone = forms.CharField(
        label=_("Time zone"),
        required=False,
        max_length=64,
        help_text=_("For example Asia/Shanghai. Empty: the zone of the console."),
        widget=forms.TextInput(attrs={"list": "zones", "autocomplete": "off", "spellcheck": "false"}),
    )

    class Meta:
        model = User
        fields = ["language", "timezone", "media", "theme", "grace_seconds"]
        labels = {
            "media": _("Images and videos"),
            "theme": _("Colours"),
            "grace_seconds": _("Time to cancel a recall"),
        }
        help_texts = {
            "media": _("They load only when you click them. Choose how they look then."),
            "grace_seconds": _("Nothing is sent before it is over. The console’s own setting is the least."),
        }
        widgets = {"media": forms.RadioSelect, "theme": forms.RadioSelect}

    def clean_timezone(self) -> str:
        zone: str = self.cleaned_data["timezone"].strip()
        if zone and zone not in available_timezones():
            raise forms.ValidationError(
                _("This server does not know the time zone “%(zone)s”. Pick one from the list, such as Asia/Shanghai."),
                params={"zone": zone},
            )
        return zone
