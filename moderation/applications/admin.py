"""Admin of applications. Keys can be written but are never shown."""

from contextvars import ContextVar
from typing import Any

from django import forms
from django.apps import apps
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from moderation.applications.models import DEFAULT, Application, same_address
from moderation.applications.recaller_data import RecallerDataField, RecallerFieldsMixin
from moderation.read_only_admin import is_referred_to, moment
from moderation.reviewed_admin import ReviewedForm
from moderation.search_admin import SearchAdmin

# docs/goeasy-api.md, "Keys": such a key can subscribe and nothing else.
SUBSCRIBE_ONLY = "BS-"


def secret_field(label: Any, help_text: Any) -> forms.CharField:
    """A field for a secret that is written and never shown again."""
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
    """Strip `key`. Raises ValidationError for characters that no key has."""
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValidationError(_("A key has neither spaces nor letters beyond ASCII. Copy it again."))
    return key


def secret_from_environment(application: Application) -> bool:
    """Whether the environment, not the admin, holds the application's webhook secrets."""
    return application.slug == DEFAULT and bool(settings.GOEASY_SECRET_KEYS)


class ApplicationForm(RecallerFieldsMixin, ReviewedForm):
    """The form of an application, with write-only fields for its keys."""

    watched = (
        *("name", "rest_host_saved", "appkey_sealed", "secret_keys_sealed", "recaller_id", "recaller_data"),
        *("keep_days", "history_days", "media_origins", "verify_after_seconds"),
    )

    new_appkey = secret_field(
        _("New key"),
        _(
            "The Common key or the REST key, from the application’s page in GoEasy’s console. Empty: keep "
            "what is saved."
        ),
    )
    new_secret_keys = secret_field(
        _("New SecretKey"),
        _(
            "From GoEasy’s console, beside the webhook. While it is being replaced: both, with a comma between. Empty: "
            "keep what is saved."
        ),
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
            "verify_after_seconds",
        ]
        labels = {"rest_host_saved": _("Region")}
        help_texts = {
            "slug": _("Part of the webhook’s address and of the audit log; it cannot be changed later."),
            "rest_host_saved": _("hangzhou or singapore, as in GoEasy’s console; or a host that GoEasy gave you."),
            "recaller_id": _("The user id that the app gets. Used when the moderator has no pseudonym."),
        }
        widgets = {
            "media_origins": forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField", "spellcheck": "false"})
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Remove the fields rather than hide them: keys from the environment must not be written here either.
        if self.instance.is_from_environment:
            self.fields.pop("new_appkey", None)
        if secret_from_environment(self.instance):
            self.fields.pop("new_secret_keys", None)

    def clean_new_appkey(self) -> str:
        return clean_key(self.cleaned_data["new_appkey"])

    def clean(self) -> dict[str, Any]:
        """Require the key again when the REST host changes, because a stored key belongs to one host."""
        cleaned = super().clean()
        host = self.cleaned_data.get("rest_host_saved")
        kept = self.initial.get("rest_host_saved", "")
        if (
            "new_appkey" in self.fields
            and host
            and self.instance.appkey_sealed
            and not same_address(kept, host)
            and not self.cleaned_data.get("new_appkey")
        ):
            self.add_error(
                "new_appkey",
                ValidationError(
                    _("The REST host changes: enter the key again. A stored key is never sent to a new address."),
                    code="key_for_another_host",
                ),
            )
        return cleaned

    def clean_media_origins(self) -> str:
        """Normalise to one origin per line, as browsers write them."""
        typed = self.cleaned_data["media_origins"].lower().replace(",", " ").split()
        return "\n".join(dict.fromkeys(origin.removesuffix("/").removesuffix(":443") for origin in typed))

    def clean_new_secret_keys(self) -> str:
        return ",".join(clean_key(key) for key in self.cleaned_data["new_secret_keys"].split(",") if key.strip())

    def save(self, commit: bool = True) -> Application:
        if appkey := self.cleaned_data.get("new_appkey"):
            self.instance.set_appkey(appkey)
        if secret_keys := self.cleaned_data.get("new_secret_keys"):
            self.instance.set_secret_keys(secret_keys)
        saved: Application = super().save(commit)
        return saved


def secret_status(sealed: str, opened: object) -> Any:
    """Text on whether a secret is stored and can be decrypted; contains nothing of the secret."""
    if not sealed:
        return _("None is kept.")
    if not opened:
        return _(
            "One is kept, but the present FIELD_ENCRYPTION_KEY or SECRET_KEY does not open it: put the former value "
            "back, or enter it again."
        )
    return _("One is kept, encrypted. It cannot be shown.")


@admin.register(Application)
class ApplicationAdmin(SearchAdmin):
    """Admin of applications. Values from the environment are shown read-only."""

    form = ApplicationForm
    change_form_template = "admin/applications/application/change_form.html"
    origin: ContextVar[str] = ContextVar("origin", default="")
    list_display = ("name", "slug", "rest_host", "configured", "from_environment")
    ordering = ("slug",)
    search_fields = ("name", "slug")
    # No bulk deletion: the list's action would not check whether an application is in use.
    actions = None

    @admin.display(description=_("region"))
    def rest_host(self, application: Application) -> str:
        return application.rest_host

    @admin.display(description=_("has a key"), boolean=True)
    def configured(self, application: Application) -> bool:
        return application.is_configured

    @admin.display(description=_("from the environment"), boolean=True)
    def from_environment(self, application: Application) -> bool:
        return application.is_from_environment

    @admin.display(description=_("Webhook address"))
    def webhook_address(self, application: Application) -> SafeString:
        path = reverse("goeasy-webhook", args=[application.slug])
        return format_html(
            '<code id="webhook-address" class="id" translate="no" data-path="{}">{}</code> '
            '<button type="button" class="button" data-copy="webhook-address" data-done="{}">{}</button>',
            path,
            f"{self.origin.get()}{path}",
            _("Copied"),
            _("Copy"),
        )

    @admin.display(description=_("Last delivery"))
    def last_delivery(self, application: Application) -> SafeString:
        # Named by label: deliveries are a layer above.
        deliveries = apps.get_model("ingestion", "WebhookDelivery")._default_manager.filter(application=application)
        at = deliveries.order_by("-received_at").values_list("received_at", flat=True).first()
        advice = _(
            "In GoEasy’s console, open the application and its webhook, enter the address above, and switch it on."
        )
        if at is None:
            return format_html("{} {}", _("Nothing has been delivered yet."), advice)
        feed = format_html('<a href="{}">{}</a>', reverse("feed"), _("Open the feed’s page"))
        return format_html("{} · {}", moment(at), feed)

    @admin.display(description=_("Key"))
    def appkey_kept(self, application: Application) -> Any:
        if application.is_from_environment:
            return _("The environment has it (GOEASY_APPKEY).")
        return secret_status(application.appkey_sealed, application.appkey())

    @admin.display(description=_("SecretKey"))
    def secret_keys_kept(self, application: Application) -> Any:
        if secret_from_environment(application):
            return _("The environment has it (GOEASY_SECRET_KEY).")
        return secret_status(application.secret_keys_sealed, application.secret_keys())

    def get_fieldsets(self, request: HttpRequest, obj: Application | None = None) -> Any:
        may_change = self.has_change_permission(request, obj) if obj else True
        host = "rest_host" if obj and obj.is_from_environment else "rest_host_saved"
        connection = [host]
        if obj:
            connection.append("appkey_kept")
        if may_change and not (obj and obj.is_from_environment):
            connection.append("new_appkey")
        webhook = ["webhook_address", "last_delivery", "secret_keys_kept"] if obj else []
        if may_change and not (obj and secret_from_environment(obj)):
            webhook.append("new_secret_keys")
        # Those who only read see the data itself.
        names = ["recaller_name", "recaller_avatar"] if may_change else []
        description = _(
            "The environment configures this application (GOEASY_APPKEY, GOEASY_REST_HOST, "
            "GOEASY_SECRET_KEY) and wins at every start: change it there."
        )
        return [
            (None, {"fields": ["name", "slug", *(["shown"] if obj and may_change else [])]}),
            (
                _("Connection to GoEasy"),
                {"fields": connection, "description": description if obj and obj.is_from_environment else None},
            ),
            (_("Webhook"), {"fields": webhook, "description": _("By it GoEasy delivers each message as it is sent.")}),
            (
                _("Recaller"),
                {
                    "fields": [*names, "recaller_id"],
                    "description": _("App users may see this at every recalled message."),
                },
            ),
            (_("How long messages are kept"), {"fields": ["keep_days", "history_days"]}),
            (_("Attachments"), {"fields": ["media_origins"]}),
            (
                _("Advanced"),
                {"fields": ["verify_after_seconds", "recaller_data"], "classes": ["collapse"]},
            ),
        ]

    def get_form(
        self, request: HttpRequest, obj: Application | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        form.user = request.user  # type: ignore[attr-defined]
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: Application | None = None) -> Any:
        # The short name is part of audit entries and of the webhook's URL, so it cannot change.
        kept = ["rest_host", "appkey_kept", "secret_keys_kept", "webhook_address", "last_delivery"]
        return [*kept, *(["slug"] if obj else [])]

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # A column's method is not given the request.
        self.origin.set(request.build_absolute_uri("/").rstrip("/"))
        return super().changeform_view(request, *args, **kwargs)

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
