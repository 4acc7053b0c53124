"""Sign-in, password and preferences."""

from typing import Any
from zoneinfo import available_timezones

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST
from django.views.i18n import set_language

from moderation.accounts import unsent
from moderation.accounts.attempts import LimitedPasswordChange, LimitedSignIn
from moderation.accounts.forms import PreferencesForm
from moderation.accounts.request_types import AuthenticatedRequest


class SignIn(auth_views.LoginView):
    """Django's sign-in, which redirects only to pages that accept GET."""

    template_name = "accounts/pages/login.html"
    authentication_form = LimitedSignIn
    redirect_authenticated_user = True

    def get_redirect_url(self, *args: Any, **kwargs: Any) -> str:
        url = super().get_redirect_url(*args, **kwargs)
        return unsent.page_for(url) if url else ""

    def form_invalid(self, form: Any) -> HttpResponse:
        # The name is there already: what has to be typed again is the password.
        form.fields["username"].widget.attrs.pop("autofocus", None)
        form.fields["password"].widget.attrs["autofocus"] = True
        return super().form_invalid(form)

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        user, zone = form.get_user(), self.request.POST.get("browser_zone", "")
        # Once: later a person's own choice holds, and a browser elsewhere is only asked about.
        if not user.timezone and zone in available_timezones():
            user.timezone = zone
            user.save(update_fields=["timezone"])
            if zone != settings.CONSOLE_TIME_ZONE:
                messages.info(self.request, _("Times are shown in %(zone)s, as your browser has it.") % {"zone": zone})
        return response


login = SignIn.as_view()


class ChangePassword(auth_views.PasswordChangeView):
    """Django's password change, which returns to the preferences with a message."""

    form_class = LimitedPasswordChange
    template_name = "accounts/pages/password.html"
    success_url = reverse_lazy("preferences")

    def get_form_kwargs(self) -> dict[str, object]:
        return {**super().get_form_kwargs(), "request": self.request}

    def form_valid(self, form: object) -> HttpResponse:
        messages.success(self.request, _("Password changed."))
        return super().form_valid(form)  # type: ignore[arg-type]


change_password = ChangePassword.as_view()


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def preferences(request: AuthenticatedRequest) -> HttpResponse:
    """Preferences page. `?timezone=` preselects a zone: base.js passes the browser's."""
    proposed = {"timezone": request.GET["timezone"]} if "timezone" in request.GET else {}
    proposed |= unsent.initial_values(request, request.path)
    form = PreferencesForm(request.POST or None, instance=request.user, initial=proposed)
    if request.method == "POST" and form.is_valid():
        user = form.save()
        with translation.override(user.language or request.LANGUAGE_CODE):
            messages.success(request, _("Preferences saved."))
        return redirect("preferences")
    # An invalid form has set its values on the user of this request.
    request.user.refresh_from_db()
    return render(request, "accounts/pages/preferences.html", {"form": form, "zones": sorted(available_timezones())})


@require_POST
def choose_language(request: HttpRequest) -> HttpResponse:
    """Django's `set_language`, which also stores the language for a signed-in user."""
    response = set_language(request)
    language = request.POST.get("language", "")
    if request.user.is_authenticated and language in dict(settings.LANGUAGES):
        request.user.language = language
        request.user.save(update_fields=["language"])
    return response
