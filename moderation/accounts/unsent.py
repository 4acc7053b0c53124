"""Unsent forms: what a user posted after the session had ended, restored for an hour after the next sign-in.

Such a POST is not carried out. Its fields, without secrets, are stored encrypted for the account that signed in last
with this browser (`accounts/devices.py`). The form's page fills them in again, and the user submits it.
`static/js/typed.js` keeps in the browser what was never posted.
"""

import re
from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import resolve_url
from django.urls import Resolver404, get_script_prefix, resolve, reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from moderation.accounts import devices
from moderation.accounts.models import UnsentForm
from moderation.applications.secrecy import seal, unseal

LIFETIME = timedelta(hours=1)
# Bytes per form (5,000 timestamps and the longest note fit), and forms per account.
MAX_BYTES, MAX_FORMS = 200_000, 5
PARAMETER = "unsent"
# Fields never stored: secrets, confirmations, and the names of buttons.
EXCLUDED_FIELDS = re.compile("passw|secret|key|token|^(confirm|edit|typed|typed_count|_save.*|_addanother|_continue)$")
# Views that accept only POST: their form is on the page one level up, or on any page.
FORM_ONE_LEVEL_UP = {
    *("conversation-filter", "conversation-hold", "recall-cancel", "recall-retry", "recall-settle"),
    *("save-search", "unsave-search", "sweep-cancel", "sweep-retry", "admin:ingestion_webhookdelivery_retry"),
    *("admin:audit_auditentry_verify", "admin:audit_auditentry_prepare", "admin:audit_auditentry_columns"),
}
# Views that scripts post to: storing these would displace a person's forms.
SCRIPT_VIEWS = {"conversation-filter", "conversation-select"}
FORM_ON_ANY_PAGE = {"goeasy-webhook", "logout", "set-language", "application-test"}


def store_and_redirect(request: HttpRequest, response: HttpResponse) -> None:
    """Store the form if `response` redirects its POST to the sign-in; let the sign-in redirect to the form's page."""
    if request.resolver_match and request.resolver_match.url_name in SCRIPT_VIEWS:
        return
    target = urlsplit(response.get("Location", ""))
    if target.path not in {resolve_url(settings.LOGIN_URL), reverse("admin:login")} or "next=" not in target.query:
        return
    page = form_page(request)
    if form := store(request):
        path, _question, query = page.partition("?")
        fields = {name: values for name, values in parse_qs(query, keep_blank_values=True).items() if name != PARAMETER}
        page = f"{path}?{urlencode({**fields, PARAMETER: form.pk}, doseq=True)}"
    response["Location"] = f"{target.path}?{urlencode({'next': page})}"


def form_page(request: HttpRequest) -> str:
    """Address of the page with the posted form: the Referer if it is ours, else the address of the POST."""
    referer = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(referer, {request.get_host()}, require_https=request.is_secure())
    return page_for(referer if is_ours else request.get_full_path())


def page_for(address: str) -> str:
    """Path of `address` if it accepts GET, else of the page that has its form; home if there is none."""
    parts, root = urlsplit(address), get_script_prefix()
    try:
        # The URL patterns do not include SCRIPT_NAME.
        name = resolve(parts.path.replace(root, "/", 1)).view_name
    except Resolver404:
        name = ""
    if not name or name in FORM_ON_ANY_PAGE:
        return resolve_url(settings.LOGIN_REDIRECT_URL)
    if name in FORM_ONE_LEVEL_UP:
        return parts.path.rsplit("/", 2)[0] + "/"
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def store(request: HttpRequest) -> UnsentForm | None:
    """Store the fields of this POST for the account that signed in last with the browser; None if nothing is stored."""
    fields = request.POST.copy()
    for name in [name for name in fields if EXCLUDED_FIELDS.search(name.lower())]:
        del fields[name]
    content = fields.urlencode()
    user = devices.last_account(request)
    if user is None or not any(map(any, (values for _name, values in fields.lists()))) or len(content) > MAX_BYTES:
        return None
    prune()
    form = UnsentForm.objects.create(user=user, action=request.path[:500], content=seal(content), at=timezone.now())
    newest = UnsentForm.objects.filter(user=user).order_by("-pk").values_list("pk", flat=True)[:MAX_FORMS]
    UnsentForm.objects.filter(user=user).exclude(pk__in=list(newest)).delete()
    return form


def prune() -> None:
    """Delete expired forms."""
    UnsentForm.objects.filter(at__lt=timezone.now() - LIFETIME).delete()


def pop_fields(request: HttpRequest, *actions: str) -> QueryDict:
    """Return the stored fields of a form that posts to one of `actions`, and delete them; empty if there are none."""
    number = request.GET.get(PARAMETER, "")
    if request.method != "GET" or not re.fullmatch("[0-9]{1,18}", number) or not request.user.is_authenticated:
        return QueryDict()
    since = timezone.now() - LIFETIME
    form = UnsentForm.objects.filter(pk=int(number), user=request.user, action__in=actions, at__gt=since).first()
    if form is None:
        return QueryDict()
    form.delete()
    # base.html shows a notice.
    request.has_restored_fields = True  # type: ignore[attr-defined]
    return QueryDict(unseal(form.content))


def initial_values(request: HttpRequest, action: str) -> dict[str, str]:
    """`pop_fields()` as a form's initial values; several values of one name become lines."""
    return {name: "\n".join(map(str, values)) for name, values in pop_fields(request, action).lists()}
