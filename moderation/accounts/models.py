"""User accounts, pseudonyms, and the records of sign-in attempts, reader alarms and unsent forms."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, UserManager
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from moderation.accounts.roles import Role
from moderation.applications.models import Application
from moderation.audit.models import Action
from moderation.audit.recorded import Recorded


class LastAdminError(ValidationError):
    """A change would leave no administrator who can sign in."""

    def __init__(self) -> None:
        super().__init__(_("At least one administrator must be able to sign in. Add another one first."), code="last")


@contextmanager
def require_an_admin() -> Iterator[None]:
    """Transaction for changes of accounts, rolled back if they leave no admin who can sign in where there was one.

    Raises LastAdminError. The admins' rows are locked first, in a fixed order, so that two admins who demote each other
    are serialised.
    """
    with transaction.atomic():
        admins = User.objects.filter(role=Role.ADMIN).order_by("pk").select_for_update(no_key=True)
        had_one = any(admin.is_usable_admin for admin in admins.only("is_active", "password", "role"))
        yield
        if had_one and not any(admin.is_usable_admin for admin in User.objects.filter(role=Role.ADMIN, is_active=True)):
            raise LastAdminError


class UserQuerySet(models.QuerySet["User"]):
    """Accounts; `update()` and `delete()` never remove the last admin."""

    def update(self, **values: Any) -> int:
        if User.affects_admins(values):
            with require_an_admin():
                return super().update(**values)
        return super().update(**values)

    def delete(self) -> tuple[int, dict[str, int]]:
        with require_an_admin():
            return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class ConsoleUserManager(UserManager.from_queryset(UserQuerySet)["User"]):  # type: ignore[misc]
    """Manager whose superusers are administrators and whose user names are unique regardless of case and width."""

    # Migrations import nothing of today's code.
    use_in_migrations = False

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **extra: Any
    ) -> "User":
        """Create an administrator. Raises ValidationError, which `createsuperuser` prints."""
        self.refuse_look_alike(username)
        extra.setdefault("role", Role.ADMIN)
        user: User = super().create_superuser(username, email, password, **extra)
        return user

    def refuse_look_alike(self, username: str) -> None:
        """Raise ValidationError if an account has this name, ignoring the case and the width of letters."""
        name = User.normalize_username(username)
        if self.filter(username__iexact=name).exists():
            raise ValidationError(User._meta.get_field("username").error_messages["unique"], code="unique")


class User(Recorded, AbstractUser):
    """An account: sign-in, role and preferences."""

    recorded_as = Action.ACCOUNT_CHANGED
    audited_fields = ("username", "role", "is_active", "is_superuser")
    secret_fields = ("password",)

    class Media(models.TextChoices):
        """How an image or video looks once it is shown."""

        PLAIN = "plain", _("show normally")
        BLUR = "blur", _("blurred until hovered or focused")
        GREY = "grey", _("in shades of grey")
        BLUR_GREY = "blur-grey", _("blurred and in shades of grey")

    class Theme(models.TextChoices):
        SYSTEM = "system", _("system")
        LIGHT = "light", _("light")
        DARK = "dark", _("dark")

    role = models.CharField(_("role"), max_length=16, choices=Role, default=Role.MODERATOR)
    language = models.CharField(_("language"), max_length=16, choices=settings.LANGUAGES, blank=True, default="")
    timezone = models.CharField(_("time zone"), max_length=64, blank=True, default="")
    media = models.CharField(_("media"), max_length=16, choices=Media, default=Media.BLUR)
    theme = models.CharField(_("theme"), max_length=16, choices=Theme, default=Theme.SYSTEM)
    # Never less than RECALL_GRACE_SECONDS: a person may have longer.
    grace_seconds = models.PositiveSmallIntegerField(
        _("time to cancel a recall"),
        choices=[(0, _("as the console has it")), (5, _("5 seconds")), (10, _("10 seconds")), (20, _("20 seconds"))],
        default=0,
    )

    objects: ClassVar[ConsoleUserManager] = ConsoleUserManager()

    class Meta(AbstractUser.Meta):
        verbose_name = _("user")  # type: ignore[assignment]
        verbose_name_plural = _("users")  # type: ignore[assignment]
        constraints = [models.CheckConstraint(condition=models.Q(role__in=Role.values), name="user_has_a_known_role")]

    @staticmethod
    def affects_admins(fields: Iterable[str] | None) -> bool:
        """Whether a change of these fields (None: all) can add or remove an admin who can sign in."""
        return fields is None or not {"role", "is_active", "password"}.isdisjoint(fields)

    @property
    def is_usable_admin(self) -> bool:
        """Whether this is an admin who can sign in."""
        return self.role == Role.ADMIN and self.is_active and bool(self.password) and self.has_usable_password()

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with require_an_admin():
            return super().delete(*args, **kwargs)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, keeping `is_staff` and `is_superuser` consistent with the role. Raises LastAdminError."""
        # Django admin checks is_staff, which follows from the role.
        self.is_staff = self.role != Role.MODERATOR
        # Django lets a superuser do everything: an account that stops being an administrator stops being a superuser.
        self.is_superuser = self.is_superuser and self.role == Role.ADMIN
        if (fields := kwargs.get("update_fields")) is not None and "role" in fields:
            kwargs["update_fields"] = {*fields, "is_staff", "is_superuser"}
        if self._state.adding or not self.affects_admins(kwargs.get("update_fields")):
            super().save(*args, **kwargs)
            return
        with require_an_admin():
            super().save(*args, **kwargs)

    @property
    def has_new_password(self) -> bool:
        """Whether `set_password` was called since the account was last saved."""
        return getattr(self, "_password", None) is not None

    def is_audited(self, update_fields: Iterable[str] | None) -> bool:
        # A sign-in may rehash the same password (`AbstractBaseUser.check_password`); that is no change.
        is_renewed = update_fields is not None and set(update_fields) == {"password"} and not self.has_new_password
        return not is_renewed and super().is_audited(update_fields)


class Pseudonym(Recorded):
    """The recaller that clients of one application see on one moderator's recalls.

    `recaller` reaches every client (docs/goeasy-api.md, "Recall"); the real actor is in the audit log alone.
    """

    recorded_as = Action.PSEUDONYM_CHANGED
    audited_fields = ("user__username", "application__slug", "recaller_id", "recaller_data")
    audited_application = "application__slug"

    application = models.ForeignKey(Application, models.CASCADE, verbose_name=_("application"))
    user = models.ForeignKey(User, models.CASCADE, verbose_name=_("moderator"))
    recaller_id = models.CharField(_("recaller id"), max_length=255)
    recaller_data = models.JSONField(
        _("recaller data"),
        null=True,
        blank=True,
        help_text=_("A JSON object, for example a name and an avatar."),
    )

    class Meta:
        verbose_name = _("pseudonym")
        verbose_name_plural = _("pseudonyms")
        constraints = [
            models.UniqueConstraint(fields=["application", "user"], name="one_pseudonym_per_moderator_and_application")
        ]

    def __str__(self) -> str:
        return self.recaller_id


class AttemptCount(models.Model):
    """Number of recent failed or pending password checks for an account, by source.

    `accounts/attempts.py` writes and prunes it. `account` is a keyed hash of the name, whether or not it exists.
    """

    account = models.CharField(max_length=64)
    source = models.CharField(max_length=80)
    since = models.DateTimeField()
    number = models.PositiveIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["account", "source"], name="one_count_per_account_and_source")]
        indexes = [
            # Accounts on which attempts from an address failed (`attempts.recent_failures`).
            models.Index(fields=["source", "since"], name="attempts_by_source"),
            # Expired counters (`attempts.prune`).
            models.Index(fields=["since"], name="attempts_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.number}"


class ReaderAlarm(models.Model):
    """Alarm about a reader who opened unusually many conversations (`accounts/readers.py`); the latest per reader."""

    reader = models.CharField(max_length=150, unique=True)
    at = models.DateTimeField()
    number = models.PositiveIntegerField()
    mailed_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.reader} {self.number}"


class UnsentForm(models.Model):
    """A form that was posted after the session had ended; `accounts/unsent.py` stores, restores and prunes it."""

    user = models.ForeignKey(User, models.CASCADE)
    # The path to which it was posted.
    action = models.CharField(max_length=500)
    # The fields as a query string, encrypted.
    content = models.TextField()
    at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.user_id} {self.action}"
