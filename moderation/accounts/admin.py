"""Accounts and pseudonyms in Django admin."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, UserChangeForm, UsernameField
from django.contrib.auth.forms import UserCreationForm as DjangoUserCreationForm
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from moderation.accounts.forms import PreferencesForm
from moderation.accounts.models import LastAdminError, Pseudonym, User
from moderation.applications.recaller_data import RecallerDataField
from moderation.read_only_admin import is_referred_to
from moderation.search_admin import SearchAdmin

if TYPE_CHECKING:
    UserAdminBase = DjangoUserAdmin[User]
    ChangeForm = UserChangeForm[User]
    CreationForm = DjangoUserCreationForm[User]
    PasswordChangeForm = AdminPasswordChangeForm[User]
else:
    UserAdminBase = DjangoUserAdmin
    ChangeForm = UserChangeForm
    CreationForm = DjangoUserCreationForm
    PasswordChangeForm = AdminPasswordChangeForm

# Permissions come from the role alone (`accounts/roles.py`): membership of a group would grant nothing.
admin.site.unregister(Group)


class UserForm(ChangeForm):
    """An existing account; its role decides its permissions."""

    timezone = forms.CharField(
        label=_("Time zone"),
        required=False,
        max_length=64,
        help_text=_("For example Asia/Shanghai. Empty: the zone of the console."),
    )
    clean_timezone = PreferencesForm.clean_timezone

    def clean_username(self) -> str:
        username: str = self.cleaned_data["username"]
        # An account may change the case of its own name, and an unchanged name is always valid.
        if username.lower() != self.instance.username.lower():
            User.objects.refuse_look_alike(username)
        return username


class NewUserForm(CreationForm):
    """A new account: a name, a role and a password."""

    class Meta:
        model = User
        fields = ("username", "role")
        # As in Django's form: full-width letters are normalised before the check for look-alike names.
        field_classes = {"username": UsernameField}


class PasswordForm(PasswordChangeForm):
    """Set or remove a password. Django's help text mentions other ways to sign in; this console has none."""

    # The page's script shows this while “disabled” is selected.
    usable_password_help_text: Any = format_lazy(
        '<ul id="id_unusable_warning" class="messagelist"><li class="warning">{}</li></ul>',
        _("The password will be removed. Nobody can sign in to this account without one."),
    )


def guard_last_admin(request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
    """Call `view`; redirect back with an error if the change would leave no admin who can sign in."""
    try:
        return view()
    except LastAdminError as error:
        messages.error(request, error.message)
        return redirect(request.path)


@admin.register(User)
class UserAdmin(SearchAdmin, UserAdminBase):
    """Accounts and their roles."""

    form = UserForm
    add_form = NewUserForm
    change_password_form = PasswordForm
    list_display = ("username", "full_name", "role", "is_active", "last_login")
    list_filter = ("role", "is_active")
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    filter_horizontal = ()
    # No bulk deletion: it would skip the check for the last admin and for accounts that recalls refer to.
    actions = None
    fieldsets = (
        (None, {"fields": ("username", "password", "role", "is_active")}),
        (_("Person"), {"fields": ("first_name", "last_name", "email")}),
        (_("Preferences"), {"fields": ("language", "timezone", "media", "theme", "grace_seconds")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "role", "password1", "password2")}),)

    @admin.display(description=_("name"))
    def full_name(self, user: User) -> str:
        return user.get_full_name()

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj and not self.has_change_permission(request, obj):
            # A read-only viewer does not see the password field, not even masked.
            (title, options), *others = fieldsets
            names = [name for name in options["fields"] if name != "password"]
            return [(title, {**options, "fields": names}), *others]
        return fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        dates = ("last_login", "date_joined")
        # People cannot change their own role or deactivate themselves: they could lock everybody out.
        return (*dates, "role", "is_active") if obj and obj.pk == request.user.pk else dates

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return guard_last_admin(request, lambda: super(UserAdmin, self).changeform_view(request, *args, **kwargs))

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return guard_last_admin(request, lambda: super(UserAdmin, self).delete_view(request, *args, **kwargs))

    def user_change_password(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return guard_last_admin(request, lambda: super(UserAdmin, self).user_change_password(request, *args, **kwargs))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        is_protected = obj is not None and (obj.pk == request.user.pk or is_referred_to(obj))
        return not is_protected and super().has_delete_permission(request)


class PseudonymForm(forms.ModelForm[Pseudonym]):
    """A pseudonym, previewed exactly as clients will see it."""

    recaller_data = RecallerDataField()

    class Meta:
        model = Pseudonym
        fields = ["user", "application", "recaller_id", "recaller_data"]


@admin.register(Pseudonym)
class PseudonymAdmin(SearchAdmin):
    """Pseudonyms: the names that clients see on moderators' recalls."""

    form = PseudonymForm
    list_display = ("recaller_id", "user", "application")
    list_filter = ("application",)
    list_select_related = ("user", "application")
    search_fields = ("recaller_id", "user__username")
    ordering = ("application", "user")
