"""Django admin's own lists, asked only what they can answer."""

from typing import Any

from django import forms
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList, ChangeListSearchForm
from django.http import HttpRequest

from moderation.read_only_admin import ModelAdmin

# Every word is looked for in every field: of thousands SQLite says that the expression is too deep.
MOST_SEARCHED = 200


class BoundedSearchForm(ChangeListSearchForm):
    """What is searched for, refused with a sentence when it is longer than any name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[SEARCH_VAR] = forms.CharField(required=False, strip=False, max_length=MOST_SEARCHED)


class BoundedChangeList(ChangeList):
    """One page of a list of Django admin; what is too long to be searched for is not."""

    search_form_class = BoundedSearchForm


class SearchAdmin(ModelAdmin):
    """A list with Django admin's own search and filters, and no others."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        # Django also takes any comparison with any field of the model: dates that are none, sealed keys.
        return lookup.removesuffix("__exact").removesuffix("__id") in self.list_filter
