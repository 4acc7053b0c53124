"""Admin pages of webhook deliveries, which can be processed again, and of unreadable messages."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from moderation.archive.admin import ConversationFilter, RawMessageAdmin, application_field
from moderation.ingestion import deliveries
from moderation.ingestion.models import UnreadableMessage, WebhookDelivery
from moderation.read_only_admin import FilterForm, ReadOnlyAdmin, moment, pretty_text

# A page shows at most this many bytes of a delivery.
MAX_SHOWN = 64 * 1024


class DeliveryFilter(FilterForm):
    """Filter by state and application."""

    state = forms.MultipleChoiceField(
        label=_("State"),
        choices=WebhookDelivery.State.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    app = application_field()

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        data = self.cleaned_data
        if data["state"]:
            rows = rows.filter(state__in=data["state"])
        if data["app"]:
            rows = rows.filter(application__in=list(data["app"]))
        return rows


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """Webhook deliveries, byte for byte, with the reason a delivery was not read, and a retry."""

    filter_form = DeliveryFilter
    list_defer = ("content",)
    list_display = ("id", "received", "application", "state", "why")
    list_select_related = ("application",)
    fields = ("application", "received", "state", "why", "tries", "sha256", "content_text")
    readonly_fields = fields
    change_form_template = "admin/ingestion/webhookdelivery/change_form.html"

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if self.has_view_permission(request) and (delivery := self.get_object(request, object_id)):
            delivery.record_reading()
        return super().change_view(request, object_id, form_url, extra_context)

    @admin.display(description=_("received"))
    def received(self, delivery: WebhookDelivery) -> SafeString | str:
        return moment(delivery.received_at)

    @admin.display(description=_("problem"))
    def why(self, delivery: WebhookDelivery) -> str:
        return f"{delivery.why} ({delivery.detail})" if delivery.detail else delivery.why or "-"

    @admin.display(description=_("content"))
    def content_text(self, delivery: WebhookDelivery) -> SafeString:
        size = len(delivery.content)
        if size <= MAX_SHOWN:
            return pretty_text(bytes(delivery.content).decode("utf-8", "backslashreplace"))
        begin = bytes(delivery.content[:MAX_SHOWN]).decode("utf-8", "backslashreplace")
        note = _("It has %(size)s: this is the beginning.") % {"size": filesizeformat(size)}
        return format_html('<p>{}</p><pre class="json">{}</pre>', note, begin)

    def get_urls(self) -> list[URLPattern]:
        retry = path("<int:pk>/retry/", self.admin_site.admin_view(self.retry), name="ingestion_webhookdelivery_retry")
        return [retry, *super().get_urls()]

    def retry(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Process the delivery again: an upgrade may be able to read it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm("ingestion.change_webhookdelivery"):
            raise PermissionDenied
        delivery = get_object_or_404(WebhookDelivery.objects.select_related("application"), pk=pk)
        if len(delivery.content) > deliveries.CHEAP_BYTES:
            deliveries.leave_to_worker(delivery)
            messages.info(request, _("It is large: the worker reads it within moments."))
            return redirect("admin:ingestion_webhookdelivery_change", pk)
        deliveries.process(delivery)
        if delivery.state == WebhookDelivery.State.DONE:
            messages.success(request, _("Its messages are in the archive now."))
        else:
            messages.error(request, self.why(delivery))
        return redirect("admin:ingestion_webhookdelivery_change", pk)


class UnreadableFilter(ConversationFilter):
    """Filter by conversation."""

    path = "conversation__"


@admin.register(UnreadableMessage)
class UnreadableMessageAdmin(RawMessageAdmin):
    """Elements of history that this version cannot read, exactly as received."""

    page = "admin: unreadable message"
    filter_form = UnreadableFilter
    list_display = ("id", "seen", "conversation_ids", "length")
    fields = ("conversation", "seen", "length", "sha256", "raw_json")
    readonly_fields = fields

    @admin.display(description=_("raw message"))
    def raw_json(self, unreadable: UnreadableMessage) -> SafeString | str:
        return pretty_text(unreadable.raw)
