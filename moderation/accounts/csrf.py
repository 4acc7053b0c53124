"""Why a form was refused: each cause that Django distinguishes, and what to do about it."""

from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.middleware import csrf
from django.shortcuts import redirect, render, resolve_url
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from moderation.accounts.unsent import page_at, page_of

SIGN_IN_PAGES = {"login", "admin:login"}
# Characters of an address, which anybody can send, that are shown.
MAX_ADDRESS = 200


class Cause(NamedTuple):
    """What was wrong, what the person does, and what an admin does if it meets everybody."""

    title: str | Promise
    sentence: str | Promise
    step: str | Promise
    for_admins: str | Promise = ""


REFUSED = _("The form was not accepted")
ORIGIN_IS_NULL = Cause(
    REFUSED,
    _("The browser kept back which page the form was sent from (it said “Origin: null”)."),
    _("Open the console in a tab of its own, not inside another page, reload, and send the form again."),
    _(
        "If everybody sees this, a proxy or an extension changes the header Referrer-Policy to no-referrer: "
        "the console’s own, same-origin, has to reach the browser."
    ),
)
ORIGIN_NOT_TRUSTED = Cause(
    REFUSED,
    _("The form was sent from “%(address)s”, which is not the address that the console knows as its own."),
    _("Open the console at its usual address and send the form from there."),
    _(
        "If that is the console’s address, the proxy before it passes on another host or scheme: let it pass on Host "
        "and X-Forwarded-Proto, or add the address to CSRF_TRUSTED_ORIGINS."
    ),
)
NO_REFERER = Cause(
    REFUSED,
    _("The browser did not say which page the form was sent from: it sent neither Origin nor Referer."),
    _("Allow the browser to send the referrer to this site (an extension may keep it back), and send the form again."),
    _("If everybody sees this, a proxy before the console removes these headers."),
)
INSECURE_REFERER = Cause(
    REFUSED,
    _("The form was sent from a page without encryption (http://) to the encrypted console."),
    _("Open the console with https:// and send the form from there."),
)
NO_COOKIE = Cause(
    REFUSED,
    _("The browser sent no cookie with the form."),
    _("Allow cookies for this site, reload the page, and send the form again."),
    _("If everybody sees this, HTTPS is on in the console’s settings and browsers reach it by http://."),
)
TOKEN_MISSING = Cause(
    REFUSED,
    _("The form came without the token that every form of the console carries: part of it was lost."),
    _("Go back, reload the page, and send the form again."),
)
TOKEN_DIFFERS = Cause(
    _("The form has expired"),
    _("It belongs to an earlier sign-in of this browser: usually somebody has signed in in another tab since then."),
    _("Go back to the form and send it again."),
)


def cause_of(reason: str) -> Cause:
    """The cause behind Django's `reason` (`django.middleware.csrf`, REASON_…), which names addresses in some."""
    before, _address, after = csrf.REASON_BAD_ORIGIN.partition("%s")
    if reason.startswith(before):
        address = reason.removeprefix(before).removesuffix(after)
        return ORIGIN_IS_NULL if address == "null" else not_trusted(address)
    before, _address, after = csrf.REASON_BAD_REFERER.partition("%s")
    if reason == csrf.REASON_INSECURE_REFERER:
        return INSECURE_REFERER
    if reason in {csrf.REASON_NO_REFERER, csrf.REASON_MALFORMED_REFERER}:
        return NO_REFERER
    if reason.startswith(before):
        return not_trusted(reason.removeprefix(before).removesuffix(after))
    if reason == csrf.REASON_NO_CSRF_COOKIE:
        return NO_COOKIE
    return TOKEN_MISSING if reason == csrf.REASON_CSRF_TOKEN_MISSING else TOKEN_DIFFERS


def not_trusted(address: str) -> Cause:
    """The cause that names where the form came from."""
    sentence = str(ORIGIN_NOT_TRUSTED.sentence) % {"address": address[:MAX_ADDRESS]}
    return ORIGIN_NOT_TRUSTED._replace(sentence=sentence)


def form_refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 with the cause; but somebody who signed in in another tab meanwhile is led where this sign-in leads."""
    cause = cause_of(reason)
    match = request.resolver_match
    if cause is TOKEN_DIFFERS and request.user.is_authenticated and match and match.view_name in SIGN_IN_PAGES:
        page = request.POST.get("next") or request.GET.get("next", "")
        is_here = url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure())
        return redirect(page_at(page) if is_here else resolve_url("home"))
    return render(request, "403_csrf.html", {"cause": cause, "page": page_of(request)}, status=403)
