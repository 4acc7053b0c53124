"""GoEasy applications: REST host, keys, retention and recall settings."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from moderation.applications.secrecy import seal, unseal
from moderation.audit.models import Action
from moderation.audit.recorded import Recorded
from moderation.characters import is_blank
from moderation.goeasy.client import Client, base_url

DEFAULT = "default"


def validate_rest_host(value: str) -> None:
    """Refuse a host that `goeasy.client.base_url` cannot parse or that GOEASY_ALLOWED_HOSTS does not list."""
    try:
        url = base_url(value)
    except ValueError as problem:
        raise ValidationError(str(problem)) from None
    match settings.GOEASY_ALLOWED_HOSTS.refusal(url):
        case "not_https":
            raise ValidationError(_("A key is sent over https alone; http is for this machine."), code="not_https")
        case "not_listed":
            raise ValidationError(
                _(
                    "“%(host)s” is not among GOEASY_ALLOWED_HOSTS (%(allowed)s). Choose another host, or have whoever "
                    "runs the console add it there."
                ),
                code="not_listed",
                params={"host": urlsplit(url).hostname, "allowed": str(settings.GOEASY_ALLOWED_HOSTS)},
            )


# A host name or an IPv4 address, and perhaps a port; nothing else, because it becomes part of the CSP header.
MEDIA_ORIGIN = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)*(:[1-9][0-9]{0,4})?")


def validate_media_origins(value: str) -> None:
    """Refuse a list with an invalid origin, and name the first one."""
    if bad := [origin for origin in value.split() if not MEDIA_ORIGIN.fullmatch(origin)]:
        raise ValidationError(
            _(
                "“%(origin)s” is not an origin. Write it like https://files.example.com or https://files.example.com:8443."
            ),
            code="origin",
            params={"origin": bad[0][:100]},
        )


def same_address(one: str, other: str) -> bool:
    """Whether two REST hosts have the same base URL, however they are written."""
    try:
        return base_url(one).lower() == base_url(other).lower()
    except ValueError:
        return one == other


class Application(Recorded):
    """A GoEasy application. The environment configures `default`, and overrides stored values."""

    recorded_as = Action.APPLICATION_CHANGED
    audited_fields = (
        *("slug", "name", "rest_host_saved", "recaller_id", "recaller_data", "keep_days", "history_days"),
        *("media_origins", "verify_after_seconds"),
    )
    secret_fields = ("appkey_sealed", "secret_keys_sealed")
    audited_application = "slug"

    slug = models.SlugField(_("short name"), unique=True)
    name = models.CharField(_("name"), max_length=100)
    rest_host_saved = models.CharField(
        _("REST host"),
        max_length=255,
        default="hangzhou",
        help_text=_("hangzhou, singapore, a host name, or a base URL."),
    )
    appkey_sealed = models.TextField(editable=False, blank=True, default="")
    secret_keys_sealed = models.TextField(editable=False, blank=True, default="")
    recaller_id = models.CharField(
        _("recaller id"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("What app users see when the moderator has no pseudonym."),
    )
    recaller_data = models.JSONField(
        _("recaller data"),
        null=True,
        blank=True,
        help_text=_("A JSON object, for example a name and an avatar."),
    )
    keep_days = models.PositiveIntegerField(
        _("days that messages are kept here"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(36_500)],
        help_text=_("Older ones are deleted, except of conversations on hold. Evidence stays. Empty: for ever."),
    )
    history_days = models.PositiveIntegerField(
        _("days that GoEasy keeps messages"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(36_500)],
        help_text=_("As the application’s plan has it: 1 on the free one, 10 on paid ones, more on request."),
    )
    media_origins = models.TextField(
        _("hosts of attachments"),
        blank=True,
        default="",
        max_length=4_000,
        help_text=_(
            "One a line, like https://files.example.com. Pictures, audio and video from there are shown after a click; "
            "the console itself never fetches them."
        ),
    )

    verify_after_seconds = models.PositiveIntegerField(
        _("seconds until a recall is verified"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(3_600)],
        help_text=_(
            "History is read so long after a recall for whether its messages are gone. manage.py goeasy_check measures "
            "how long GoEasy takes. Empty: as RECALL_VERIFY_AFTER says."
        ),
    )

    class Meta:
        verbose_name = _("application")
        verbose_name_plural = _("applications")
        ordering = ["slug"]

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Validate the fields, and run validators that fields cannot name, as migrations import no current code."""
        errors: dict[str, Any] = {}
        try:
            super().clean_fields(exclude)
        except ValidationError as error:
            errors = error.update_error_dict(errors)
        for name, validate in (("rest_host_saved", validate_rest_host), ("media_origins", validate_media_origins)):
            if name in errors or name in (exclude or ()) or not (value := getattr(self, name)):
                continue
            try:
                validate(value)
            except ValidationError as error:
                errors[name] = error.error_list
        if errors:
            raise ValidationError(errors)

    def __str__(self) -> str:
        return self.slug if is_blank(self.name) else self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; drop a key stored for another REST host, so that it is never sent to this one."""
        fields = kwargs.get("update_fields")
        if not self._state.adding and (fields is None or "rest_host_saved" in fields):
            kept = Application.objects.filter(pk=self.pk).values_list("rest_host_saved", "appkey_sealed").first()
            if kept and kept[1] and kept[1] == self.appkey_sealed and not same_address(kept[0], self.rest_host_saved):
                self.appkey_sealed = ""
                if fields is not None:
                    kwargs["update_fields"] = {*fields, "appkey_sealed"}
        super().save(*args, **kwargs)

    @property
    def is_from_environment(self) -> bool:
        """Whether this application's key comes from the environment."""
        return self.slug == DEFAULT and bool(settings.GOEASY_APPKEY)

    @property
    def rest_host(self) -> str:
        """Region, host name or base URL, as accepted by `goeasy.client.base_url`."""
        return settings.GOEASY_REST_HOST if self.is_from_environment else self.rest_host_saved

    @property
    def is_configured(self) -> bool:
        """Whether there is a key to call GoEasy with."""
        return bool(self.appkey())

    @property
    def key_problem(self) -> str:
        """Why there is no key to call GoEasy with, a kind in `applications.problems`; empty when there is one."""
        if self.is_configured:
            return ""
        return "key_unreadable" if self.appkey_sealed and not self.is_from_environment else "not_configured"

    @property
    def allowed_media_origins(self) -> list[str]:
        """Origins from which a browser may load this application's attachments: the global ones and its own."""
        return list(dict.fromkeys([*settings.MEDIA_ORIGINS, *self.media_origins.split()]))

    @property
    def verify_after(self) -> float:
        """Seconds from the end of a recall's call until its result is verified in history."""
        own = self.verify_after_seconds
        return float(settings.RECALL_VERIFY_AFTER if own is None else own)

    @property
    def secret_problem(self) -> str:
        """Why no webhook signature can be verified, as in `key_problem`; empty when there is a SecretKey."""
        if self.secret_keys():
            return ""
        return "key_unreadable" if self.secret_keys_sealed else "not_configured"

    # Methods, not properties, so that nothing that lists an object's attributes shows a key.
    def appkey(self) -> str:
        """The common or REST key in plain text, for the client only."""
        return settings.GOEASY_APPKEY if self.is_from_environment else unseal(self.appkey_sealed)

    def secret_keys(self) -> list[str]:
        """The webhook secrets that are valid now (two while a key is rotated)."""
        if self.slug == DEFAULT and settings.GOEASY_SECRET_KEYS:
            return list(settings.GOEASY_SECRET_KEYS)
        return [key for key in unseal(self.secret_keys_sealed).split(",") if key]

    def set_appkey(self, appkey: str) -> None:
        """Encrypt and set the key; does not save."""
        self.appkey_sealed = seal(appkey.strip())

    def set_secret_keys(self, secret_keys: str) -> None:
        """Encrypt and set the webhook secrets, two separated by a comma; does not save."""
        self.secret_keys_sealed = seal(",".join(key.strip() for key in secret_keys.split(",") if key.strip()))

    def client(self, *, read_timeout: float | None = None) -> Client:
        """Create a client for this application; the caller closes it."""
        return Client(
            appkey=self.appkey(),
            rest_host=self.rest_host,
            connect_timeout=settings.GOEASY_CONNECT_TIMEOUT,
            read_timeout=read_timeout or settings.GOEASY_READ_TIMEOUT,
            pool_size=settings.GOEASY_CONCURRENCY,
            allowed_hosts=settings.GOEASY_ALLOWED_HOSTS,
        )
