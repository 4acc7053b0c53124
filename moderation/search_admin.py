"""Django admin lists with bounded search and declared filters only."""

from typing import Any

from django import forms
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList, ChangeListSearchForm
from django.http import HttpRequest

from moderation.read_only_admin import ModelAdmin

# Every word is searched in every field: with thousands of words SQLite refuses the expression as too deep.
MAX_SEARCH_LENGTH = 200


class BoundedSearchForm(ChangeListSearchForm):
    """Search form that refuses a text longer than MAX_SEARCH_LENGTH with an error."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[SEARCH_VAR] = forms.CharField(required=False, strip=False, max_length=MAX_SEARCH_LENGTH)


class BoundedChangeList(ChangeList):
    """Change list that ignores a search text that is too long."""

    search_form_class = BoundedSearchForm


class SearchAdmin(ModelAdmin):
    """Admin list that accepts the declared search and filters, and no other query."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        # Django would also accept look-ups on other fields, such as malformed dates and encrypted keys.
        return lookup.removesuffix("__exact").removesuffix("__id") in self.list_filter
