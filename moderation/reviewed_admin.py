"""Django admin forms that are shown again when somebody else has changed the row since the page was made."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from moderation.reviewed import Aspects, aspect, read, token


class ReviewedForm(forms.ModelForm[Any]):
    """Saves what was typed only over the values that the page showed.

    `watched`: the row's fields that it shows, or tells of. A form without `shown` was made by no page, and is saved:
    who may change a row needs no page to do so.
    """

    watched: ClassVar[tuple[str, ...]] = ()
    # Whose page it is; the admin sets it.
    user: ClassVar[AbstractBaseUser]
    shown = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["shown"].initial = self._token(self.instance)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.instance.pk and (text := self.data.get("shown")):
            # Nobody else changes it before this one is saved: the admin does both in one transaction.
            row = type(self.instance)._default_manager.select_for_update(no_key=True).get(pk=self.instance.pk)
            if changed := read(text, self.user, self._decision).differences(self._aspects(row)):
                data: Any = self.data
                self.data = data = data.copy()
                data["shown"] = self._token(row)
                fields = [type(row)._meta.get_field(name) for name in self.watched if name in changed]
                raise ValidationError(
                    _("Somebody changed this since you opened the page: %(fields)s. Look at it, then save again."),
                    params={"fields": ", ".join(self._now(row, field) for field in fields)},
                    code="changed",
                )
        return cleaned

    @property
    def _decision(self) -> str:
        return f"{self.instance._meta.label_lower}:{self.instance.pk}"

    def _token(self, row: models.Model) -> str:
        return token(self.user, self._decision, self._aspects(row))

    def _aspects(self, row: models.Model) -> Aspects:
        return {name: aspect([getattr(row, name)]) for name in self.watched}

    def _now(self, row: models.Model, field: Any) -> str:
        """The field's name, and its value where the form shows that."""
        name = str(field.verbose_name)
        return f"{name} ({getattr(row, field.name)})" if field.name in self.fields else name
