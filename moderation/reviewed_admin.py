"""Django admin form that detects a change of the row by somebody else since the page was opened."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from moderation.reviewed import Aspects, aspect, read, token


class ReviewedForm(forms.ModelForm[Any]):
    """Form that saves only if the row still has the values that the page showed.

    `watched` are the fields that the page shows. A form without `shown` does not come from the page and is saved: the
    permission to change the row is enough.
    """

    watched: ClassVar[tuple[str, ...]] = ()
    # The user of the page; set by the admin.
    user: ClassVar[AbstractBaseUser]
    shown = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["shown"].initial = self._token(self.instance)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.instance.pk and (text := self.data.get("shown")):
            # The row stays locked until it is saved: the admin does both in one transaction.
            row = type(self.instance)._default_manager.select_for_update(no_key=True).get(pk=self.instance.pk)
            if changed := read(text, self.user, self._decision).differences(self._aspects(row)):
                data: Any = self.data
                self.data = data = data.copy()
                data["shown"] = self._token(row)
                fields = [type(row)._meta.get_field(name) for name in self.watched if name in changed]
                raise ValidationError(
                    _("Somebody changed this since you opened the page: %(fields)s. Check it, then save again."),
                    params={"fields": ", ".join(self._current_value(row, field) for field in fields)},
                    code="changed",
                )
        return cleaned

    @property
    def changed_data(self) -> list[str]:
        """The changed fields, for Django's history of the row; `shown` is none of them."""
        return [name for name in super().changed_data if name != "shown"]

    @property
    def _decision(self) -> str:
        return f"{self.instance._meta.label_lower}:{self.instance.pk}"

    def _token(self, row: models.Model) -> str:
        return token(self.user, self._decision, self._aspects(row))

    def _aspects(self, row: models.Model) -> Aspects:
        return {name: aspect([getattr(row, name)]) for name in self.watched}

    def _current_value(self, row: models.Model, field: Any) -> str:
        """Name of the field, with its value if the form shows it."""
        name = str(field.verbose_name)
        return f"{name} ({getattr(row, field.name)})" if field.name in self.fields else name
