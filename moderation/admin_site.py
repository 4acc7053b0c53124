"""The admin site of the console."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

# Texts of Django admin that Django does not translate into Chinese; the console's catalogue does.
UNTRANSLATED = (
    gettext_noop("Change or view list link"),
    gettext_noop("After you’ve created a user, you’ll be able to edit more user options."),
)


class AdminSignIn(AdminAuthenticationForm):
    """Django admin's sign-in form, which also records a right password of an account without access."""

    def clean(self) -> dict[str, Any]:
        # Models cannot be imported yet when Django loads the site.
        from moderation.accounts.attempts import limit_sign_ins

        with limit_sign_ins(self):
            return super().clean()

    def confirm_login_allowed(self, user: Any) -> None:
        # Models cannot be imported yet when Django loads the site.
        from moderation.accounts.signing_in import record_failure

        try:
            super().confirm_login_allowed(user)
        except ValidationError:
            record_failure(user.get_username(), "role")
            raise


class ConsoleAdminSite(admin.AdminSite):
    """Admin site for leads, auditors and admins; `accounts/roles.py` defines their permissions."""

    login_form = AdminSignIn
    site_header = _("Moderation console")
    site_title = _("Moderation console")
    index_title = _("Administration")
    # A row of its pages is below the bar.
    enable_nav_sidebar = False

    def password_change(  # type: ignore[override]  # it redirects
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the console's own page, which limits and records attempts."""
        if request.method not in {"GET", "HEAD", "POST"}:
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        return redirect("password_change")
