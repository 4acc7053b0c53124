"""Applications to configure; conversations and messages to read."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from moderation.archive import deliveries
from moderation.archive.models import DEFAULT, Application, Conversation, Kind, Message, WebhookDelivery
from moderation.archive.recaller_data import RecallerDataField
from moderation.audit.services import record_search
from moderation.read_only_admin import (
    FilterForm,
    ReadOnlyAdmin,
    is_referred_to,
    moment,
    moment_ms,
    pretty_text,
    short,
    yes_no,
)
from moderation.search_admin import SearchAdmin

# goeasy-api.md, "Keys": such a key can subscribe and nothing else.
SUBSCRIBE_ONLY = "BS-"


def secret_field(label: Any, help_text: Any) -> forms.CharField:
    """A secret to be written and never shown again."""
    return forms.CharField(
        label=label,
        help_text=help_text,
        required=False,
        max_length=500,
        widget=forms.PasswordInput(
            render_value=False,
            attrs={"autocomplete": "new-password", "class": "vTextField", "spellcheck": "false"},
        ),
    )


def clean_key(key: str) -> str:
    """`key` without space around it; ValidationError when it cannot have been copied whole."""
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValidationError(_("A key has neither spaces nor letters beyond ASCII. Copy it again."))
    return key


def secret_from_environment(application: Application) -> bool:
    """Whether the environment, not the admin, holds the application's webhook secrets."""
    return application.slug == DEFAULT and bool(settings.GOEASY_SECRET_KEYS)


class ApplicationForm(forms.ModelForm[Application]):
    """An application; its keys are written here and cannot be read here."""

    new_appkey = secret_field(
        _("New appkey"), _("The common key or the REST key. Leave it empty to keep the one there is.")
    )
    new_secret_keys = secret_field(
        _("New SecretKey"),
        _("It signs webhooks; two, with a comma between, while it changes. Leave it empty to keep it."),
    )
    recaller_data = RecallerDataField()

    class Meta:
        model = Application
        fields = [
            "name",
            "slug",
            "rest_host_saved",
            "recaller_id",
            "recaller_data",
            "keep_days",
            "history_days",
            "media_origins",
        ]
        widgets = {
            "media_origins": forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField", "spellcheck": "false"})
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Left out, not only unseen: what the environment holds is not written here either.
        if self.instance.is_from_environment:
            self.fields.pop("new_appkey", None)
        if secret_from_environment(self.instance):
            self.fields.pop("new_secret_keys", None)

    def clean_new_appkey(self) -> str:
        return clean_key(self.cleaned_data["new_appkey"])

    def clean_media_origins(self) -> str:
        """One a line, as a browser writes an origin."""
        typed = self.cleaned_data["media_origins"].lower().replace(",", " ").split()
        return "\n".join(dict.fromkeys(origin.removesuffix("/").removesuffix(":443") for origin in typed))

    def clean_new_secret_keys(self) -> str:
        return ",".join(clean_key(key) for key in self.cleaned_data["new_secret_keys"].split(",") if key.strip())

    def save(self, commit: bool = True) -> Application:
        if appkey := self.cleaned_data.get("new_appkey"):
            self.instance.set_appkey(appkey)
        if secret_keys := self.cleaned_data.get("new_secret_keys"):
            self.instance.set_secret_keys(secret_keys)
        return super().save(commit)


def kept(sealed: str, opened: object) -> Any:
    """Whether a secret is kept, in words; nothing of the secret itself."""
    if not sealed:
        return _("None is kept.")
    if not opened:
        return _("One is kept, but the present SECRET_KEY does not open it: enter it again.")
    return _("One is kept, encrypted. It cannot be shown.")


@admin.register(Application)
class ApplicationAdmin(SearchAdmin):
    """Applications and their keys. What the environment configures is shown and cannot be changed."""

    form = ApplicationForm
    list_display = ("name", "slug", "rest_host", "configured", "from_environment")
    ordering = ("slug",)
    search_fields = ("name", "slug")
    # Deleting is done one by one: the list's action would not ask whether one of them is needed.
    actions = None

    @admin.display(description=_("REST host"))
    def rest_host(self, application: Application) -> str:
        return application.rest_host

    @admin.display(description=_("has a key"), boolean=True)
    def configured(self, application: Application) -> bool:
        return application.is_configured

    @admin.display(description=_("from the environment"), boolean=True)
    def from_environment(self, application: Application) -> bool:
        return application.is_from_environment

    @admin.display(description=_("Appkey"))
    def appkey_kept(self, application: Application) -> Any:
        if application.is_from_environment:
            return _("The environment has it (GOEASY_APPKEY).")
        return kept(application.appkey_sealed, application.appkey())

    @admin.display(description=_("SecretKey"))
    def secret_keys_kept(self, application: Application) -> Any:
        if secret_from_environment(application):
            return _("The environment has it (GOEASY_SECRET_KEY).")
        return kept(application.secret_keys_sealed, application.secret_keys())

    def get_fieldsets(self, request: HttpRequest, obj: Application | None = None) -> Any:
        may_change = self.has_change_permission(request, obj) if obj else True
        host = "rest_host" if obj and obj.is_from_environment else "rest_host_saved"
        connection = [host]
        if obj:
            connection.append("appkey_kept")
        if may_change and not (obj and obj.is_from_environment):
            connection.append("new_appkey")
        if obj:
            connection.append("secret_keys_kept")
        if may_change and not (obj and secret_from_environment(obj)):
            connection.append("new_secret_keys")
        sentence = _(
            "The environment configures this application (GOEASY_APPKEY, GOEASY_REST_HOST, "
            "GOEASY_SECRET_KEY) and wins at every start: change it there."
        )
        return [
            (None, {"fields": ["name", "slug"]}),
            (
                _("GoEasy"),
                {"fields": connection, "description": sentence if obj and obj.is_from_environment else None},
            ),
            (
                _("Recaller"),
                {
                    "fields": ["recaller_id", "recaller_data"],
                    "description": _("Every client that sees a recalled message sees this."),
                },
            ),
            (_("How long messages are kept"), {"fields": ["keep_days", "history_days"]}),
            (_("Attachments"), {"fields": ["media_origins"]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Application | None = None) -> Any:
        # Audit entries and the webhook's address carry the short name: it stays what it was.
        return ["rest_host", "appkey_kept", "secret_keys_kept", *(["slug"] if obj else [])]

    def save_model(self, request: HttpRequest, obj: Application, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.appkey().startswith(SUBSCRIBE_ONLY):
            messages.warning(
                request,
                _(
                    "The key begins with BS-: such a key can only subscribe, and GoEasy will refuse recalls "
                    "with it. Use the common key (BC-) or the REST key."
                ),
            )

    def has_delete_permission(self, request: HttpRequest, obj: Application | None = None) -> bool:
        is_needed = obj is not None and (obj.slug == DEFAULT or is_referred_to(obj))
        return not is_needed and super().has_delete_permission(request)


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
    """The conversations that `ids` names: a group, a user, or a pair as the console writes it ("a ↔ b")."""
    wanted = Q()
    for name in ("group_id", "user_a", "user_b"):
        wanted |= Q((f"{path}{name}", ids))
    user_a, found, user_b = ids.partition(" ↔ ")
    if found:
        user_a, user_b = sorted((user_a, user_b))
        wanted |= Q((f"{path}user_a", user_a), (f"{path}user_b", user_b))
    return wanted


class SearchedAdmin(ReadOnlyAdmin):
    """What is looked for here is recorded."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        names = self.filter_form.base_fields.keys()
        if asked := {name: values for name, values in request.GET.lists() if name in names and any(values)}:
            record_search(f"admin: {self.opts.model_name}", **asked)
        return super().changelist_view(request, extra_context)


class ConversationFilter(FilterForm):
    """By application, kind and the ids of users or groups."""

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
            rows = rows.filter(named(data["ids"]))
        if data["kind"]:
            rows = rows.filter(kind__in=data["kind"])
        if data["app"]:
            rows = rows.filter(application__in=list(data["app"]))
        return rows


@admin.register(Conversation)
class ConversationAdmin(SearchedAdmin):
    """What the archive knows of conversations."""

    filter_form = ConversationFilter
    list_display = ("id", "ids", "kind", "application", "latest")
    list_select_related = ("application",)
    fields = ("application", "kind", "ids", "latest", "read", "history_problem", "held")
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

    @admin.display(description=_("history read"))
    def read(self, conversation: Conversation) -> SafeString | str:
        return moment(conversation.history_read_at)

    def view_on_site(self, obj: Model) -> str:
        return obj.get_absolute_url()  # type: ignore[attr-defined, no-any-return]


class MessageFilter(FilterForm):
    """By conversation, sender, timestamp and whether it is recalled."""

    ids = forms.CharField(
        label=_("Conversation"), help_text=_("The id of a user or a group."), required=False, max_length=520
    )
    sender = forms.CharField(label=_("Sender"), help_text=_("The user’s id."), required=False, max_length=255)
    timestamp = forms.IntegerField(
        label=_("Timestamp"),
        help_text=_("Milliseconds since 1970, 13 digits."),
        required=False,
        min_value=0,
        max_value=10**15,
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


@admin.register(Message)
class MessageAdmin(SearchedAdmin):
    """Messages exactly as GoEasy told them."""

    filter_form = MessageFilter
    list_defer = ("raw", "recalled_raw")
    list_display = ("id", "sent", "timestamp_plain", "conversation_ids", "sender_id", "type", "recalled")
    list_select_related = ("conversation",)
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

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if self.has_view_permission(request):
            message = self.get_object(request, object_id)
            if message and message.conversation.kind == Kind.PRIVATE:
                message.conversation.record_opening("admin: message")
        return super().change_view(request, object_id, form_url, extra_context)

    @admin.display(description=_("sent"))
    def sent(self, message: Message) -> SafeString | str:
        return moment_ms(message.timestamp)

    @admin.display(description=_("conversation"))
    def conversation_ids(self, message: Message) -> SafeString:
        return short(str(message.conversation))

    @admin.display(description=_("timestamp"))
    def timestamp_plain(self, message: Message) -> str:
        return str(message.timestamp)

    @admin.display(description=_("first seen"))
    def seen(self, message: Message) -> SafeString | str:
        return moment(message.seen_at)

    @admin.display(description=_("raw message"))
    def raw_json(self, message: Message) -> SafeString | str:
        return str(_("Text erased on request")) if message.is_erased else pretty_text(message.raw)

    @admin.display(description=_("as it was recalled"))
    def recalled_json(self, message: Message) -> SafeString | str:
        return pretty_text(message.recalled_raw) if message.recalled_raw else "-"


class DeliveryFilter(FilterForm):
    """By state and application."""

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
    """What the webhook delivered, to the byte; why it could not be read, and reading it once more."""

    filter_form = DeliveryFilter
    list_defer = ("content",)
    list_display = ("id", "received", "application", "state", "why")
    list_select_related = ("application",)
    fields = ("application", "received", "state", "why", "tries", "sha256", "content_text")
    readonly_fields = fields
    change_form_template = "admin/archive/webhookdelivery/change_form.html"

    @admin.display(description=_("received"))
    def received(self, delivery: WebhookDelivery) -> SafeString | str:
        return moment(delivery.received_at)

    @admin.display(description=_("problem"))
    def why(self, delivery: WebhookDelivery) -> str:
        if not delivery.problem:
            return "-"
        sentence = str(deliveries.PROBLEMS.get(delivery.problem, delivery.problem))
        return f"{sentence} ({delivery.detail})" if delivery.detail else sentence

    @admin.display(description=_("content"))
    def content_text(self, delivery: WebhookDelivery) -> SafeString:
        return pretty_text(bytes(delivery.content).decode("utf-8", "backslashreplace"))

    def get_urls(self) -> list[URLPattern]:
        retry = path("<int:pk>/retry/", self.admin_site.admin_view(self.retry), name="archive_webhookdelivery_retry")
        return [retry, *super().get_urls()]

    def retry(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Read the delivery into the archive once more: this program may have learned to since."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm("archive.change_webhookdelivery"):
            raise PermissionDenied
        delivery = get_object_or_404(WebhookDelivery.objects.select_related("application"), pk=pk)
        deliveries.process(delivery)
        if delivery.state == WebhookDelivery.State.DONE:
            messages.success(request, _("Its messages are in the archive now."))
        else:
            messages.error(request, self.why(delivery))
        return redirect("admin:archive_webhookdelivery_change", pk)
