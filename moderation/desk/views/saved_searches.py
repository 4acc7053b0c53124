"""Keeping a search under a name, and dropping it."""

from __future__ import annotations

import re

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from moderation.accounts.request_types import AuthenticatedRequest
from moderation.desk.chips import filters_in
from moderation.desk.models import SavedSearch

MAX_SAVED = 30
MAX_QUERY = 2_000


class SavedSearchForm(forms.Form):
    """A name, and the query string that it stands for."""

    name = forms.CharField(
        max_length=60, error_messages={"required": gettext_lazy("Give the search a name to save it under.")}
    )
    query = forms.CharField(max_length=MAX_QUERY, required=False)

    def clean_query(self) -> str:
        """The filters alone: neither a page of the results nor a parameter that no filter has."""
        return filters_in(QueryDict(self.cleaned_data["query"].removeprefix("?")))


@login_required
@permission_required("archive.view_conversation", raise_exception=True)
@require_POST
def save_search(request: AuthenticatedRequest) -> HttpResponse:
    """Keep the search under a name; one that has the name is replaced."""
    form = SavedSearchForm(request.POST)
    address = reverse("conversations")
    if not form.is_valid():
        for problems in form.errors.values():
            messages.error(request, str(problems[0]))
        return redirect(address)
    name, query = form.cleaned_data["name"], form.cleaned_data["query"]
    saved = SavedSearch.objects.filter(user=request.user)
    if not query:
        messages.error(request, _("There is nothing to save: choose a filter or type a text first."))
    elif saved.exclude(name=name).count() >= MAX_SAVED:
        messages.error(request, _("You have %(n)d saved searches, which is the most. Remove one.") % {"n": MAX_SAVED})
    else:
        SavedSearch.objects.update_or_create(user=request.user, name=name, defaults={"query": query})
        messages.success(request, _("Saved as “%(name)s”.") % {"name": name})
    return redirect(f"{address}?{query}")


@login_required
@permission_required("archive.view_conversation", raise_exception=True)
@require_POST
def unsave_search(request: AuthenticatedRequest) -> HttpResponse:
    """Drop one's own saved search (`search`, its id)."""
    pk = request.POST.get("search", "")
    search = get_object_or_404(SavedSearch, pk=int(pk) if re.fullmatch("[0-9]{1,18}", pk) else 0, user=request.user)
    search.delete()
    messages.success(request, _("“%(name)s” is no longer saved.") % {"name": search.name})
    return redirect(f"{reverse('conversations')}?{search.query}")
