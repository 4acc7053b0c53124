"""People who use the console, and the names under which their recalls go out."""

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


class LastAdmin(ValidationError):
    """A change would leave no administrator who can sign in."""

    def __init__(self) -> None:
        super().__init__(_("Somebody has to be an administrator who can sign in. Make another one first."), code="last")


@contextmanager
def keep_an_admin() -> Iterator[None]:
    """Change accounts inside: if no admin is left who can sign in, and there was one, it is undone.

    Raises LastAdmin. The admins' rows are locked first, in one order, so that two admins who demote each other come one
    after the other.
    """
    with transaction.atomic():
        admins = User.objects.filter(role=Role.ADMIN).order_by("pk").select_for_update(no_key=True)
        had_one = any(admin.is_usable_admin for admin in admins.only("is_active", "password", "role"))
        yield
        if had_one and not any(admin.is_usable_admin for admin in User.objects.filter(role=Role.ADMIN, is_active=True)):
            raise LastAdmin


class UserQuerySet(models.QuerySet["User"]):
    """Accounts, of which no `update()` or `delete()` takes the last admin away."""

    def update(self, **values: Any) -> int:
        if User.decides_on_admins(values):
            with keep_an_admin():
                return super().update(**values)
        return super().update(**values)

    def delete(self) -> tuple[int, dict[str, int]]:
        with keep_an_admin():
            return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class ConsoleUserManager(UserManager.from_queryset(UserQuerySet)["User"]):  # type: ignore[misc]
    """Makes `createsuperuser` create an administrator, whose name looks like nobody else's."""

    # Migrations import nothing of today's code.
    use_in_migrations = False

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **extra: Any
    ) -> "User":
        """Raises ValidationError, of which the command makes a sentence."""
        self.refuse_look_alike(username)
        extra.setdefault("role", Role.ADMIN)
        user: User = super().create_superuser(username, email, password, **extra)
        return user

    def refuse_look_alike(self, username: str) -> None:
        """Raise ValidationError if somebody has this name but for the case or the width of its letters."""
        name = User.normalize_username(username)
        if self.filter(username__iexact=name).exists():
            raise ValidationError(User._meta.get_field("username").error_messages["unique"], code="unique")


class User(Recorded, AbstractUser):
    """Somebody who signs in: a role, and how they like to see the console."""

    recorded_as = Action.ACCOUNT_CHANGED
    told = ("username", "role", "is_active", "is_superuser")
    secret = ("password",)

    class Media(models.TextChoices):
        """What an image or video looks like after the click that shows it."""

        PLAIN = "plain", _("as it is")
        BLUR = "blur", _("blurred until hovered or focused")
        GREY = "grey", _("in shades of grey")
        BLUR_GREY = "blur-grey", _("blurred and in shades of grey")

    class Theme(models.TextChoices):
        SYSTEM = "system", _("as the system has it")
        LIGHT = "light", _("light")
        DARK = "dark", _("dark")

    role = models.CharField(_("role"), max_length=16, choices=Role, default=Role.MODERATOR)
    language = models.CharField(_("language"), max_length=16, choices=settings.LANGUAGES, blank=True, default="")
    timezone = models.CharField(_("time zone"), max_length=64, blank=True, default="")
    media = models.CharField(_("media"), max_length=16, choices=Media, default=Media.BLUR)
    theme = models.CharField(_("theme"), max_length=16, choices=Theme, default=Theme.SYSTEM)

    objects: ClassVar[ConsoleUserManager] = ConsoleUserManager()

    class Meta(AbstractUser.Meta):
        verbose_name = _("user")  # type: ignore[assignment]
        verbose_name_plural = _("users")  # type: ignore[assignment]
        constraints = [models.CheckConstraint(condition=models.Q(role__in=Role.values), name="user_has_a_known_role")]

    @staticmethod
    def decides_on_admins(fields: Iterable[str] | None) -> bool:
        """Whether changing these fields (None: all) can make or unmake an admin who can sign in."""
        return fields is None or not {"role", "is_active", "password"}.isdisjoint(fields)

    @property
    def is_usable_admin(self) -> bool:
        """Whether this is an admin who can sign in."""
        return self.role == Role.ADMIN and self.is_active and bool(self.password) and self.has_usable_password()

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with keep_an_admin():
            return super().delete(*args, **kwargs)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Raises LastAdmin."""
        # Django admin asks is_staff; the role decides it, so that the two cannot disagree.
        self.is_staff = self.role != Role.MODERATOR
        # Django asks a superuser's role nothing: whoever stops being an administrator stops being one, too.
        self.is_superuser = self.is_superuser and self.role == Role.ADMIN
        if (fields := kwargs.get("update_fields")) is not None and "role" in fields:
            kwargs["update_fields"] = {*fields, "is_staff", "is_superuser"}
        if self._state.adding or not self.decides_on_admins(kwargs.get("update_fields")):
            super().save(*args, **kwargs)
            return
        with keep_an_admin():
            super().save(*args, **kwargs)

    @property
    def has_new_password(self) -> bool:
        """Whether `set_password` was called since the account was last saved."""
        return getattr(self, "_password", None) is not None

    def is_told(self, update_fields: Iterable[str] | None) -> bool:
        # Signing in may renew the hash; the password is then the same (`AbstractBaseUser.check_password`).
        is_renewed = update_fields is not None and set(update_fields) == {"password"} and not self.has_new_password
        return not is_renewed and super().is_told(update_fields)


class Pseudonym(Recorded):
    """The recaller that one moderator's recalls show to clients of one application.

    `recaller` reaches every client (goeasy-api.md, "Recall"); the true actor stays in the audit log.
    """

    recorded_as = Action.PSEUDONYM_CHANGED
    told = ("user__username", "application__slug", "recaller_id", "recaller_data")
    told_app = "application__slug"

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
    """How many passwords for an account were wrong lately, or are being checked, by where they came from.

    `accounts/attempts.py` writes and prunes it. `account` is a keyed hash of the name, whether there is one or not.
    """

    account = models.CharField(max_length=64)
    source = models.CharField(max_length=80)
    since = models.DateTimeField()
    number = models.PositiveIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["account", "source"], name="one_count_per_account_and_source")]
        indexes = [
            # On how many accounts attempts failed from an address.
            models.Index(fields=["source", "since"], name="attempts_by_source"),
            # Which are over.
            models.Index(fields=["since"], name="attempts_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.number}"


class ReaderAlarm(models.Model):
    """That somebody opened unusually many conversations; `accounts/readers.py` raises it. The latest of each reader."""

    reader = models.CharField(max_length=150, unique=True)
    at = models.DateTimeField()
    number = models.PositiveIntegerField()
    mailed_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.reader} {self.number}"


class UnsentForm(models.Model):
    """What somebody posted after their session had ended; `accounts/unsent.py` writes, gives back and prunes it."""

    user = models.ForeignKey(User, models.CASCADE)
    # The path that it was posted to.
    action = models.CharField(max_length=500)
    # Its fields as a query string, encrypted.
    content = models.TextField()
    at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.user_id} {self.action}"
