"""Reasons to maintain, and recalls to read."""

from itertools import groupby
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django_tasks_db import admin as tasks_admin  # noqa: F401 - registers what is unregistered below
from django_tasks_db.models import DBTaskResult

from moderation.archive.admin import application_field, named
from moderation.read_only_admin import FilterForm, ReadOnlyAdmin, is_referred_to, moment, pretty, short
from moderation.search_admin import SearchAdmin
from recall.models import Recall, RecallReason

# Its list counts a table that grows, and a recall's own page shows its outcome.
admin.site.unregister(DBTaskResult)


@admin.register(RecallReason)
class RecallReasonAdmin(SearchAdmin):
    """The list that moderators choose a reason from. One that was used can be withdrawn, not deleted."""

    list_display = ("code", "label_en", "label_zh", "position", "is_active")
    ordering = ("position", "code")
    search_fields = ("code", "label_en", "label_zh")
    # No bulk deletion: the list's action would not check whether a reason was used.
    actions = None

    def get_readonly_fields(self, request: HttpRequest, obj: RecallReason | None = None) -> tuple[str, ...]:
        # Audit entries and scripts carry the code.
        return ("code",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: RecallReason | None = None) -> bool:
        return not (obj and is_referred_to(obj)) and super().has_delete_permission(request)


class RecallFilter(FilterForm):
    """By state, actor, application and conversation."""

    state = forms.MultipleChoiceField(
        label=_("State"), choices=Recall.State.choices, required=False, widget=forms.CheckboxSelectMultiple
    )
    actor = forms.ModelMultipleChoiceField(
        label=_("Actor"),
        queryset=get_user_model().objects.order_by("username"),
        to_field_name="username",
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    app = application_field()
    ids = forms.CharField(
        label=_("Conversation"), help_text=_("The id of a user or a group."), required=False, max_length=520
    )

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        data = self.cleaned_data
        if data["state"]:
            rows = rows.filter(state__in=data["state"])
        if data["actor"]:
            rows = rows.filter(actor__in=list(data["actor"]))
        if data["app"]:
            rows = rows.filter(application__in=list(data["app"]))
        if data["ids"]:
            rows = rows.filter(named(data["ids"], "conversation__"))
        return rows


@admin.register(Recall)
class RecallAdmin(ReadOnlyAdmin):
    """Recalls with their calls and attempts; to act on one there is its own page."""

    key = ("created_at", "id")
    filter_form = RecallFilter
    list_defer = ("note", "recaller_data")
    list_display = ("requested", "state_pill", "actor", "application", "conversation_ids", "reason")
    list_select_related = ("actor", "application", "conversation", "reason")
    fields = (
        "id",
        "state_pill",
        "stopped",
        "actor",
        "application",
        "conversation",
        "sweep_link",
        "reason",
        "note",
        "recaller_id",
        "recaller_json",
        "requested",
        "finished",
        "calls",
    )
    readonly_fields = fields

    @admin.display(description=_("requested"))
    def requested(self, recall: Recall) -> SafeString | str:
        return moment(recall.created_at)

    @admin.display(description=_("finished"))
    def finished(self, recall: Recall) -> SafeString | str:
        return moment(recall.finished_at)

    @admin.display(description=_("conversation"))
    def conversation_ids(self, recall: Recall) -> SafeString:
        return short(str(recall.conversation))

    @admin.display(description=_("state"))
    def state_pill(self, recall: Recall) -> SafeString:
        return format_html('<span class="pill {}">{}</span>', recall.state, recall.get_state_display())

    @admin.display(description=_("why it stopped"))
    def stopped(self, recall: Recall) -> str:
        return str(recall.get_stop_reason_display()) if recall.stop_reason else "-"

    @admin.display(description=_("sweep"))
    def sweep_link(self, recall: Recall) -> SafeString | str:
        if recall.sweep is None:
            return "-"
        return format_html('<a href="{}">{}</a>', recall.sweep.get_absolute_url(), recall.sweep.pk)

    @admin.display(description=_("recaller data"))
    def recaller_json(self, recall: Recall) -> SafeString | str:
        return pretty(recall.recaller_data) if recall.recaller_data else "-"

    @admin.display(description=_("requests"))
    def calls(self, recall: Recall) -> SafeString:
        """Every batch with its timestamps and attempts: three queries, and none of the evidence's text."""
        items = recall.items.order_by("batch_id", "timestamp")
        by_batch = {batch: list(group) for batch, group in groupby(items, lambda item: item.batch_id)}
        batches = [
            {
                "batch": batch,
                "items": by_batch.get(batch.pk, []),
                "attempts": [
                    {"attempt": attempt, "started": moment(attempt.started_at)} for attempt in batch.attempts.all()
                ],
            }
            for batch in recall.batches.select_related("call").prefetch_related("call__attempts")
        ]
        return render_to_string("admin/recall/recall/_calls.html", {"batches": batches})

    def view_on_site(self, obj: Model) -> str:
        return obj.get_absolute_url()  # type: ignore[attr-defined, no-any-return]
