"""The page for a refused form (CSRF): each cause that Django distinguishes, and what to do about it."""

from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.middleware import csrf
from django.shortcuts import redirect, render, resolve_url
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from moderation.accounts.unsent import form_page, page_for

SIGN_IN_PAGES = {"login", "admin:login"}
# Characters shown of an address, which a client can choose freely.
MAX_ADDRESS = 200


class Cause(NamedTuple):
    """Title, explanation, advice to the user, and advice to admins when every user is affected."""

    title: str | Promise
    message: str | Promise
    advice: str | Promise
    for_admins: str | Promise = ""


REFUSED = _("The form was not accepted")
ORIGIN_IS_NULL = Cause(
    REFUSED,
    _("The browser did not say which page the form was sent from (“Origin: null”)."),
    _("Open the console in its own tab, not inside another page. Reload the page and send the form again."),
    _(
        "If everybody sees this, a proxy or an extension changes the header Referrer-Policy to no-referrer. "
        "The console’s own value, same-origin, must reach the browser."
    ),
)
ORIGIN_NOT_TRUSTED = Cause(
    REFUSED,
    _("The form was sent from “%(address)s”, which is not this console’s address."),
    _("Open the console at its usual address and send the form from there."),
    _(
        "If it is the console’s address, the proxy forwards another host or scheme. Let it forward Host and "
        "X-Forwarded-Proto unchanged, or add the address to CSRF_TRUSTED_ORIGINS."
    ),
)
NO_REFERER = Cause(
    REFUSED,
    _("The browser did not say which page the form was sent from. It sent neither Origin nor Referer."),
    _("Allow the browser to send the referrer to this site (an extension may block it), then send the form again."),
    _("If everybody sees this, a proxy in front of the console removes these headers."),
)
INSECURE_REFERER = Cause(
    REFUSED,
    _("The form was sent from an unencrypted page (http://) to the encrypted console."),
    _("Open the console at its https:// address and send the form from there."),
)
NO_COOKIE = Cause(
    REFUSED,
    _("The browser sent no cookie with the form."),
    _("Allow cookies for this site, reload the page and send the form again."),
    _("If everybody sees this, the setting HTTPS is on while browsers use http://."),
)
TOKEN_MISSING = Cause(
    REFUSED,
    _("The form arrived without its security token. Part of it was lost."),
    _("Go back, reload the page and send the form again."),
)
TOKEN_DIFFERS = Cause(
    _("The form has expired"),
    _("It belongs to an earlier session of this browser. Usually, somebody has signed in again in another tab."),
    _("Go back to the form and send it again."),
)


def cause_for(reason: str) -> Cause:
    """Cause for Django's `reason` (`django.middleware.csrf`, REASON_…), some of which contain an address."""
    before, _address, after = csrf.REASON_BAD_ORIGIN.partition("%s")
    if reason.startswith(before):
        address = reason.removeprefix(before).removesuffix(after)
        return ORIGIN_IS_NULL if address == "null" else untrusted_origin(address)
    before, _address, after = csrf.REASON_BAD_REFERER.partition("%s")
    if reason == csrf.REASON_INSECURE_REFERER:
        return INSECURE_REFERER
    if reason in {csrf.REASON_NO_REFERER, csrf.REASON_MALFORMED_REFERER}:
        return NO_REFERER
    if reason.startswith(before):
        return untrusted_origin(reason.removeprefix(before).removesuffix(after))
    if reason == csrf.REASON_NO_CSRF_COOKIE:
        return NO_COOKIE
    return TOKEN_MISSING if reason == csrf.REASON_CSRF_TOKEN_MISSING else TOKEN_DIFFERS


def untrusted_origin(address: str) -> Cause:
    """Cause for a form sent from `address`."""
    message = str(ORIGIN_NOT_TRUSTED.message) % {"address": address[:MAX_ADDRESS]}
    return ORIGIN_NOT_TRUSTED._replace(message=message)


def form_refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Respond 403 with the cause; a sign-in form after a sign-in in another tab redirects to its target instead."""
    cause = cause_for(reason)
    match = request.resolver_match
    if cause is TOKEN_DIFFERS and request.user.is_authenticated and match and match.view_name in SIGN_IN_PAGES:
        page = request.POST.get("next") or request.GET.get("next", "")
        is_own_page = url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure())
        return redirect(page_for(page) if is_own_page else resolve_url("home"))
    return render(request, "403_csrf.html", {"cause": cause, "page": form_page(request)}, status=403)
