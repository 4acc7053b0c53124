"""Read-only admin pages of conversations and messages."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from moderation.applications.models import Application
from moderation.applications.problems import problem_message
from moderation.archive.events import Searched
from moderation.archive.models import Conversation, Kind, Message
from moderation.archive.templatetags.moments import implausible
from moderation.audit.request_context import current_actor
from moderation.audit.services import record
from moderation.read_only_admin import FilterForm, ReadOnlyAdmin, moment, moment_ms, pretty_text, short, yes_no


def application_field() -> "forms.ModelMultipleChoiceField[Application]":
    """A filter by application, any number of them."""
    return forms.ModelMultipleChoiceField(
        label=_("Application"),
        queryset=Application.objects.all(),
        to_field_name="slug",
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )


def named(ids: str, path: str = "") -> Q:
    """Filter for the conversations that `ids` names: a group, a user, or a pair as the console writes it ("a ↔ b")."""
    wanted = Q()
    for name in ("group_id", "user_a", "user_b"):
        wanted |= Q((f"{path}{name}", ids))
    user_a, separator, user_b = ids.partition(" ↔ ")
    if separator:
        user_a, user_b = sorted((user_a, user_b))
        wanted |= Q((f"{path}user_a", user_a), (f"{path}user_b", user_b))
    return wanted


class SearchedAdmin(ReadOnlyAdmin):
    """Base of lists whose searches are recorded in the audit log."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        names = self.filter_form.base_fields.keys()
        if criteria := {name: values for name, values in request.GET.lists() if name in names and any(values)}:
            record(Searched(actor=current_actor(), page=f"admin: {self.opts.model_name}", asked=criteria))
        return super().changelist_view(request, extra_context)


class ConversationFilter(FilterForm):
    """Filter by application, kind and ids of users or groups. `path` is the lookup from a row to its conversation."""

    path = ""

    ids = forms.CharField(
        label=_("Conversation"), help_text=_("The id of a user or a group."), required=False, max_length=520
    )
    kind = forms.MultipleChoiceField(
        label=_("Kind"), choices=Kind.choices, required=False, widget=forms.CheckboxSelectMultiple
    )
    app = application_field()

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        data = self.cleaned_data
        if data["ids"]:
            rows = rows.filter(named(data["ids"], self.path))
        if data["kind"]:
            rows = rows.filter(**{f"{self.path}kind__in": data["kind"]})
        if data["app"]:
            rows = rows.filter(**{f"{self.path}application__in": list(data["app"])})
        return rows


@admin.register(Conversation)
class ConversationAdmin(SearchedAdmin):
    """Archived conversations."""

    filter_form = ConversationFilter
    list_display = ("id", "ids", "kind", "application", "latest")
    list_select_related = ("application",)
    fields = ("application", "kind", "ids", "latest", "read", "problem", "held")
    readonly_fields = fields

    @admin.display(description=_("on hold"))
    def held(self, conversation: Conversation) -> SafeString | str:
        if conversation.held_at is None:
            return "-"
        return format_html("{} · {} · {}", moment(conversation.held_at), conversation.held_by, conversation.hold_note)

    @admin.display(description=_("conversation"))
    def ids(self, conversation: Conversation) -> SafeString:
        return short(conversation.ids)

    @admin.display(description=_("latest message"))
    def latest(self, conversation: Conversation) -> SafeString | str:
        return moment_ms(conversation.last_timestamp) if conversation.last_timestamp else "-"

    @admin.display(description=_("synced"))
    def read(self, conversation: Conversation) -> SafeString | str:
        return moment(conversation.history_read_at)

    @admin.display(description=_("problem with its history"))
    def problem(self, conversation: Conversation) -> str:
        return str(problem_message(conversation.history_problem)) if conversation.history_problem else "-"

    def view_on_site(self, obj: Model) -> str:
        return obj.get_absolute_url()  # type: ignore[attr-defined, no-any-return]


class MessageFilter(FilterForm):
    """Filter by conversation, sender, timestamp and whether the message is recalled."""

    ids = forms.CharField(
        label=_("Conversation"), help_text=_("The id of a user or a group."), required=False, max_length=520
    )
    sender = forms.CharField(label=_("Sender"), help_text=_("The user’s id."), required=False, max_length=255)
    timestamp = forms.IntegerField(
        label=_("Timestamp"),
        help_text=_("Milliseconds since 1970, 13 digits."),
        required=False,
        min_value=0,
        max_value=2**63 - 1,
    )
    recalled = yes_no(_("Recalled"))

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        data = self.cleaned_data
        if data["ids"]:
            rows = rows.filter(named(data["ids"], "conversation__"))
        if data["sender"]:
            rows = rows.filter(sender_id=data["sender"])
        if data["timestamp"] is not None:
            rows = rows.filter(timestamp=data["timestamp"])
        if data["recalled"]:
            rows = rows.filter(recalled=data["recalled"] == "1")
        return rows


class RawMessageAdmin(SearchedAdmin):
    """Base of pages with raw message text: opening one is recorded as an opening of its conversation on `page`."""

    page = ""
    list_defer: tuple[str, ...] = ("raw",)
    list_select_related = ("conversation",)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if self.has_view_permission(request) and (row := self.get_object(request, object_id)):
            row.conversation.record_opening(self.page)
        return super().change_view(request, object_id, form_url, extra_context)

    @admin.display(description=_("conversation"))
    def conversation_ids(self, row: Any) -> SafeString:
        return short(str(row.conversation))

    @admin.display(description=_("first seen"))
    def seen(self, row: Any) -> SafeString | str:
        return moment(row.seen_at)


@admin.register(Message)
class MessageAdmin(RawMessageAdmin):
    """Messages exactly as received from GoEasy."""

    page = "admin: message"
    filter_form = MessageFilter
    list_defer = ("raw", "recalled_raw")
    list_display = ("id", "sent", "timestamp_plain", "conversation_ids", "sender_id", "type", "recalled")
    fields = (
        "conversation",
        "sent",
        "timestamp_plain",
        "message_id",
        "sender_id",
        "type",
        "recalled",
        "seen",
        "sha256",
        "raw_json",
        "recalled_json",
    )
    readonly_fields = fields

    @admin.display(description=_("sent"))
    def sent(self, message: Message) -> SafeString | str:
        return moment_ms(message.timestamp) if message.placed_at is None else implausible(message.timestamp)

    @admin.display(description=_("timestamp"))
    def timestamp_plain(self, message: Message) -> str:
        return str(message.timestamp)

    @admin.display(description=_("raw message"))
    def raw_json(self, message: Message) -> SafeString | str:
        return str(_("Text erased on request")) if message.is_erased else pretty_text(message.raw)

    @admin.display(description=_("as it was recalled"))
    def recalled_json(self, message: Message) -> SafeString | str:
        return pretty_text(message.recalled_raw) if message.recalled_raw else "-"
