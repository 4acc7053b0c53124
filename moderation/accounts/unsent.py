"""What somebody had typed when their session ended: kept for an hour, and shown to the same person after signing in.

A POST that finds no session is not carried out. Its fields, but no secret, are kept encrypted for the account that
signed in last with this browser (`accounts/devices.py`); the page of the form shows them again, to be submitted by the
person. `static/js/typed.js` keeps in the browser what was never posted.
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
# Bytes of one form: 5,000 timestamps and the longest note fit. And forms of one account.
MAX_BYTES, MAX_FORMS = 200_000, 5
PARAMETER = "unsent"
# Never kept, whatever form they are in: secrets, and what confirms or only names the press of a button.
LEFT_OUT = re.compile("passw|secret|key|token|^(confirm|edit|typed|typed_count|_save.*|_addanother|_continue)$")
# What takes only POST has no page of its own: its form is on the page one level up, or on any page.
ONE_LEVEL_UP = {
    *("conversation-filter", "conversation-hold", "recall-cancel", "recall-retry", "recall-settle"),
    *("sweep-cancel", "sweep-retry", "admin:ingestion_webhookdelivery_retry"),
    *("admin:audit_auditentry_verify", "admin:audit_auditentry_prepare"),
}
# Requests of a script, which would push out what a person has sent.
NO_FORMS = {"conversation-filter", "conversation-select"}
ON_ANY_PAGE = {"goeasy-webhook", "logout", "set-language"}


def answer_ended_session(request: HttpRequest, response: HttpResponse) -> None:
    """If `response` sends a POST to the sign-in, keep what was posted, and have the sign-in lead to the form's page."""
    if request.resolver_match and request.resolver_match.url_name in NO_FORMS:
        return
    target = urlsplit(response.get("Location", ""))
    if target.path not in {resolve_url(settings.LOGIN_URL), reverse("admin:login")} or "next=" not in target.query:
        return
    page = page_of(request)
    if kept := keep(request):
        path, _question, query = page.partition("?")
        asked = {name: values for name, values in parse_qs(query, keep_blank_values=True).items() if name != PARAMETER}
        page = f"{path}?{urlencode({**asked, PARAMETER: kept.pk}, doseq=True)}"
    response["Location"] = f"{target.path}?{urlencode({'next': page})}"


def page_of(request: HttpRequest) -> str:
    """The address of the page on which the form of this POST was: as the browser says, else its own address."""
    came_from = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(came_from, {request.get_host()}, require_https=request.is_secure())
    return page_at(came_from if is_ours else request.get_full_path())


def page_at(address: str) -> str:
    """`address` without its host if GET is answered there, else the page that has the form; home if there is none."""
    parts, root = urlsplit(address), get_script_prefix()
    try:
        # Addresses are known without the folder that the console is in.
        name = resolve(parts.path.replace(root, "/", 1)).view_name
    except Resolver404:
        name = ""
    if not name or name in ON_ANY_PAGE:
        return resolve_url(settings.LOGIN_REDIRECT_URL)
    if name in ONE_LEVEL_UP:
        return parts.path.rsplit("/", 2)[0] + "/"
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def keep(request: HttpRequest) -> UnsentForm | None:
    """Keep the fields of this POST for the last account that signed in with the browser; None if there is none."""
    typed = request.POST.copy()
    for name in [name for name in typed if LEFT_OUT.search(name.lower())]:
        del typed[name]
    content = typed.urlencode()
    user = devices.last_account(request)
    if user is None or not any(map(any, (values for _name, values in typed.lists()))) or len(content) > MAX_BYTES:
        return None
    prune()
    kept = UnsentForm.objects.create(user=user, action=request.path[:500], content=seal(content), at=timezone.now())
    newest = UnsentForm.objects.filter(user=user).order_by("-pk").values_list("pk", flat=True)[:MAX_FORMS]
    UnsentForm.objects.filter(user=user).exclude(pk__in=list(newest)).delete()
    return kept


def prune() -> None:
    """Delete what nobody came back for."""
    UnsentForm.objects.filter(at__lt=timezone.now() - LIFETIME).delete()


def typed_again(request: HttpRequest, *actions: str) -> QueryDict:
    """What was typed into a form of this page that goes to one of `actions`, once; empty if nothing is kept of it."""
    number = request.GET.get(PARAMETER, "")
    if request.method != "GET" or not re.fullmatch("[0-9]{1,18}", number) or not request.user.is_authenticated:
        return QueryDict()
    since = timezone.now() - LIFETIME
    kept = UnsentForm.objects.filter(pk=int(number), user=request.user, action__in=actions, at__gt=since).first()
    if kept is None:
        return QueryDict()
    kept.delete()
    # base.html says so.
    request.typed_again = True  # type: ignore[attr-defined]
    return QueryDict(unseal(kept.content))


def initial(request: HttpRequest, action: str) -> dict[str, str]:
    """`typed_again()` as the beginning of a form: several values of one name are lines."""
    return {name: "\n".join(map(str, values)) for name, values in typed_again(request, action).lists()}
