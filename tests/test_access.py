"""Every route, method and role has a declared response; an undeclared route fails the build."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from moderation.accounts import unsent

pytestmark = pytest.mark.django_db

ROLES = {"-": None, "m": "moderator", "l": "lead", "a": "auditor", "A": "admin"}
EVERYONE, SIGNED_IN, ACTING, NOBODY = "-mlaA", "mlaA", "mlA", ""
NOT_ALLOWED = "405"

# Route: the roles that are served for GET, for POST and for any other method. Others are redirected to the sign-in if
# not signed in, and refused (403) otherwise; "405" refuses the method to every role.
ROUTES: dict[str, tuple[str, str, str]] = {
    "home": (SIGNED_IN, NOT_ALLOWED, NOT_ALLOWED),
    "jump": (SIGNED_IN, NOT_ALLOWED, NOT_ALLOWED),
    "conversations": (SIGNED_IN, NOT_ALLOWED, NOT_ALLOWED),
    "conversation-rows": (SIGNED_IN, NOT_ALLOWED, NOT_ALLOWED),
    "open-conversation": (ACTING, ACTING, NOT_ALLOWED),
    "save-search": (NOT_ALLOWED, SIGNED_IN, NOT_ALLOWED),
    "unsave-search": (NOT_ALLOWED, SIGNED_IN, NOT_ALLOWED),
    "ticked-messages": (ACTING, NOT_ALLOWED, NOT_ALLOWED),
    "sender": (SIGNED_IN, NOT_ALLOWED, NOT_ALLOWED),
    "erase-text": ("A", "A", NOT_ALLOWED),
    # POST shows another page of the same conversation and keeps what was ticked: it changes nothing.
    "conversation": (SIGNED_IN, SIGNED_IN, NOT_ALLOWED),
    # POST takes the ids of what a page shows, too many for an address: it changes nothing.
    "conversation-filter": (NOT_ALLOWED, SIGNED_IN, NOT_ALLOWED),
    "conversation-hold": (NOT_ALLOWED, "lA", NOT_ALLOWED),
    "conversation-news": (SIGNED_IN, NOT_ALLOWED, NOT_ALLOWED),
    # POST takes a pasted list, too long for an address: it changes nothing.
    "conversation-select": (ACTING, ACTING, NOT_ALLOWED),
    "recalls": (SIGNED_IN, NOT_ALLOWED, NOT_ALLOWED),
    "recall-new": (ACTING, ACTING, NOT_ALLOWED),
    "recall": (SIGNED_IN, NOT_ALLOWED, NOT_ALLOWED),
    "recall-cancel": (NOT_ALLOWED, ACTING, NOT_ALLOWED),
    "recall-toast": (SIGNED_IN, NOT_ALLOWED, NOT_ALLOWED),
    "recall-retry": (NOT_ALLOWED, ACTING, NOT_ALLOWED),
    "recall-settle": (NOT_ALLOWED, ACTING, NOT_ALLOWED),
    "sweep-new": (ACTING, ACTING, NOT_ALLOWED),
    "sweep": (SIGNED_IN, NOT_ALLOWED, NOT_ALLOWED),
    "sweep-cancel": (NOT_ALLOWED, ACTING, NOT_ALLOWED),
    "sweep-retry": (NOT_ALLOWED, ACTING, NOT_ALLOWED),
    "feed": (SIGNED_IN, NOT_ALLOWED, NOT_ALLOWED),
    "application-test": (NOT_ALLOWED, "A", NOT_ALLOWED),
    # The signature decides whether it is accepted.
    "goeasy-webhook": (NOT_ALLOWED, EVERYONE, NOT_ALLOWED),
    "healthz": (EVERYONE, NOT_ALLOWED, NOT_ALLOWED),
    "readyz": (EVERYONE, NOT_ALLOWED, NOT_ALLOWED),
    # A signed-in user is redirected home for any method.
    "login": (EVERYONE, EVERYONE, EVERYONE),
    "logout": (NOT_ALLOWED, EVERYONE, NOT_ALLOWED),
    "password_change": (SIGNED_IN, SIGNED_IN, NOT_ALLOWED),
    "preferences": (SIGNED_IN, SIGNED_IN, NOT_ALLOWED),
    "set-language": (NOT_ALLOWED, EVERYONE, NOT_ALLOWED),
}

# Django admin: GET and POST. A moderator is not staff and is redirected to the sign-in like a visitor.
STAFF, LEADS, ADMIN = "laA", "lA", "A"
ADMIN_SITE: dict[str, tuple[str, ...]] = {
    "index": (STAFF, STAFF),
    "login": (EVERYONE, EVERYONE, EVERYONE),
    # Visitors and moderators are redirected to the index, which redirects to the sign-in.
    "logout": ("-m", EVERYONE, "-m"),
    "password_change": (STAFF, STAFF, NOT_ALLOWED),
    "password_change_done": (STAFF, NOT_ALLOWED, NOT_ALLOWED),
    "autocomplete": (NOBODY, NOT_ALLOWED, NOT_ALLOWED),
    "jsi18n": (STAFF, NOT_ALLOWED, NOT_ALLOWED),
    "view_on_site": (STAFF, STAFF),
    "app_list": (STAFF, STAFF),
    "": (STAFF, STAFF),
    "auth_user_password_change": (ADMIN, ADMIN),
}
# A list has no actions: POST is served like GET.
READ, READ_LOG, NEVER = ("laA", NOBODY, NOBODY), ("aA", NOBODY, NOBODY), (NOBODY, NOBODY)
READ_ONLY = {"changelist": READ, "add": NEVER, "change": READ, "delete": NEVER, "history": ("laA", "laA")}
LOG = {"changelist": READ_LOG, "add": NEVER, "change": READ_LOG, "delete": NEVER, "history": NEVER}
BY_ADMINS = {
    "changelist": ("aA", "aA"),
    "add": (ADMIN, ADMIN),
    "change": ("aA", "A"),
    "delete": (ADMIN, ADMIN),
    "history": ("aA", "aA"),
}
BY_LEADS = {
    "changelist": ("laA", "laA"),
    "add": (LEADS, LEADS),
    "change": ("laA", "lA"),
    "delete": (LEADS, LEADS),
    "history": ("laA", "laA"),
}
MODELS: dict[str, dict[str, tuple[str, ...]]] = {
    "accounts_user": BY_ADMINS,
    "accounts_pseudonym": BY_LEADS,
    "applications_application": BY_ADMINS,
    "archive_conversation": READ_ONLY,
    "archive_message": READ_ONLY,
    "ingestion_unreadablemessage": {**LOG, "history": ("aA", "aA")},
    "ingestion_webhookdelivery": {**LOG, "history": ("aA", "aA"), "retry": (NOT_ALLOWED, ADMIN, NOT_ALLOWED)},
    "audit_auditentry": {
        **LOG,
        "export": ("aA", NOT_ALLOWED, NOT_ALLOWED),
        "verify": (NOT_ALLOWED, "aA", NOT_ALLOWED),
        "columns": (NOT_ALLOWED, "aA", NOT_ALLOWED),
        "prepare": (NOT_ALLOWED, "aA", NOT_ALLOWED),
        "job": ("aA", NOT_ALLOWED, NOT_ALLOWED),
        "download": ("aA", NOT_ALLOWED, NOT_ALLOWED),
    },
    "recall_recallreason": BY_LEADS,
    "recall_recall": READ_ONLY,
}
for model, pages in MODELS.items():
    ADMIN_SITE |= {f"{model}_{page}": roles for page, roles in pages.items()}
for page, (get, post, *other) in ADMIN_SITE.items():
    # By default Django admin serves any other method like GET.
    ROUTES[f"admin:{page}"] = (get, post, other[0] if other else get)


def routes(resolver: Any = None, namespace: str = "") -> Iterator[tuple[str, URLPattern]]:
    """All routes of the URL resolver, by name."""
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, f"{pattern.namespace}:" if pattern.namespace else namespace)
        else:
            yield f"{namespace}{pattern.name or ''}", pattern


@pytest.fixture
def things(private: Any, moderator: Any, reason: Any, make_message: Any, lead: Any) -> dict[str, Any]:
    """One object of each kind that a URL can contain."""
    from moderation.accounts.models import Pseudonym
    from moderation.applications.models import Application
    from moderation.audit.models import AuditEntry, AuditJob
    from moderation.ingestion.deliveries import accept
    from moderation.ingestion.models import UnreadableMessage, WebhookDelivery
    from recall import services
    from recall.models import Recall, RecallReason, Sweep

    message = make_message(private, 1_700_000_000_000)
    accept(private.application, b"not to be read")
    recall = services.request_recall(
        conversation=private,
        actor=moderator,
        reason=reason,
        note="",
        timestamps=[1_700_000_000_000],
        recaller=None,
        submission=uuid.uuid4(),
        grace_seconds=0,
    )
    sweep = Sweep.objects.create(application=private.application, sender_id="user-a", since=0, until=1, actor=moderator)
    Recall.objects.filter(pk=recall.pk).update(sweep=sweep)
    return {
        "accounts_user": lead,
        "accounts_pseudonym": Pseudonym.objects.create(
            application=private.application, user=moderator, recaller_id="support"
        ),
        # Nothing refers to these two, so that they may be deleted.
        "applications_application": Application.objects.create(slug="second", name="Second"),
        "archive_conversation": private,
        "archive_message": message,
        "ingestion_unreadablemessage": UnreadableMessage.objects.create(conversation=private, raw="{}", length=2),
        "ingestion_webhookdelivery": WebhookDelivery.objects.get(),
        "audit_auditentry": AuditEntry.objects.get(recall=recall.pk),
        "recall_recallreason": RecallReason.objects.create(code="boredom", label_en="Boredom", label_zh="无聊"),
        "recall_recall": recall,
        # It has no file: the download reports that.
        "job": AuditJob.objects.create(kind="export", state="done", format="csv", actor="ada"),
        "conversation": private,
        "recall": recall,
        "sweep": sweep,
        "auth_user": lead,
    }


def address(name: str, things: dict[str, Any]) -> str | None:
    """URL of the route for an existing object; None if the route has no URL of its own."""
    site, _colon, page = name.rpartition(":")
    if page in {"", "view_on_site"}:
        return None if page == "" else reverse(name, args=[1, 1])
    if page in {"goeasy-webhook", "application-test"}:
        return reverse(name, args=["default"])
    if page in {"sender", "erase-text"}:
        return reverse(name, args=["default"]) + "?id=user-a"
    if page == "app_list":
        return reverse(name, args=["recall"])
    if page in {"audit_auditentry_job", "audit_auditentry_download"}:
        return reverse(name, args=[things["job"].pk])
    model = page.rsplit("_", 1)[0].removesuffix("_password")
    if site and model in things and page.rsplit("_", 1)[1] in {"change", "delete", "history", "retry"}:
        return reverse(name, args=[things[model].pk])
    thing = (
        things.get(name.split("-")[0])
        if not site and name not in {"recall-new", "sweep-new", "conversation-rows"}
        else None
    )
    return reverse(name, args=[thing.pk]) if thing else reverse(name)


def answer(client: Client, method: str, url: str) -> str:
    """Kind of the response: "answered", "sign in", "refused" or NOT_ALLOWED."""
    response = client.generic(method, url)
    if response.status_code == 405:
        return NOT_ALLOWED
    if response.status_code == 403:
        return "refused"
    if response.status_code == 302 and "/login/?" in response.headers["Location"]:
        return "sign in"
    # readyz may answer 503.
    assert response.status_code < 500 or url == "/readyz"
    return "answered"


def test_every_route_is_declared_and_every_declared_route_exists() -> None:
    names = {name for name, _pattern in routes()}
    assert names <= set(ROUTES), f"ROUTES does not declare who may do what at: {names - set(ROUTES)}"
    assert names >= set(ROUTES), f"ROUTES declares what does not exist: {set(ROUTES) - names}"


def expected(name: str, letter: str, roles: str) -> set[str]:
    """Allowed kinds of response for the role `letter`, when `roles` are declared."""
    if roles == NOT_ALLOWED:
        # It does not matter whether the person or the method is refused first.
        return {NOT_ALLOWED, "refused", "sign in"}
    if letter in roles:
        # Sign-in and sign-out do not support every method.
        return {"answered", NOT_ALLOWED} if name.endswith(("login", "logout")) else {"answered"}
    if name == "admin:logout":
        return {NOT_ALLOWED}
    return {"sign in"} if letter == "-" or (letter == "m" and name.startswith("admin:")) else {"refused"}


@pytest.mark.parametrize("name", [name for name in ROUTES if name != "admin:"])
def test_a_route_serves_exactly_the_declared_roles(name: str, things: dict[str, Any], make_user: Any) -> None:
    url = address(name, things)
    assert url is not None
    for letter, role in ROLES.items():
        for method, roles in zip(("GET", "POST", "DELETE"), ROUTES[name], strict=True):
            client = Client()
            if role:
                client.force_login(make_user(f"{role}-{method}", role))
            kind = answer(client, method, url)
            assert kind in expected(name, letter, roles), f"{method} {url} as {role or 'a visitor'}: {kind}"


def test_a_post_only_route_has_a_page_with_its_form(client: Client, things: dict[str, Any], administrator: Any) -> None:
    client.force_login(administrator)
    names = {name for name, (get, *_others) in ROUTES.items() if get == NOT_ALLOWED}
    assert names >= unsent.FORM_ONE_LEVEL_UP | unsent.FORM_ON_ANY_PAGE
    for name in names:
        url = address(name, things)
        assert url is not None
        page = unsent.page_for(url)
        assert client.get(page, follow=True).status_code == 200, name
        assert page == "/" or url.startswith(page), name


def test_pages_of_signed_in_users_are_not_cached(client: Client, things: dict[str, Any], administrator: Any) -> None:
    # Machine endpoints show no messages and are the same for everybody.
    machines = {"healthz", "readyz"}
    for name in machines:
        assert client.get(address(name, things)).headers["Cache-Control"] == "no-store"
    for name in ROUTES.keys() - {"admin:", "goeasy-webhook"} - machines:
        client = Client()
        client.force_login(administrator)
        headers = client.get(address(name, things)).headers
        assert {"no-store", "private"} <= set(headers["Cache-Control"].split(", ")), name
        assert "HX-Request" in headers["Vary"], name
    client.force_login(administrator)
    assert "no-store" in client.get("/no/such/page/").headers["Cache-Control"]
    assert "HX-Request" not in Client().get(reverse("healthz")).headers.get("Vary", "")


def test_an_unknown_role_has_no_permission() -> None:
    from moderation.accounts.roles import role_allows

    assert not role_allows("", "recall.view_recall")
    assert not role_allows("owner", "recall.view_recall")


def test_a_deactivated_user_has_no_permission(make_user: Any) -> None:
    user = make_user("gone", "admin", is_active=False)
    assert not user.has_perm("recall.add_recall")
    assert not user.has_module_perms("recall")


def test_a_session_ends_when_the_account_is_deactivated(client: Client, moderator: Any) -> None:
    client.force_login(moderator)
    moderator.is_active = False
    moderator.save()
    assert client.get(reverse("home")).status_code == 302


def test_a_sign_out_clears_the_browser_cache(client: Client, moderator: Any) -> None:
    client.force_login(moderator)
    review = client.post("/recalls/new/", {})
    assert {"no-cache", "private"} <= set(review.headers["Cache-Control"].split(", "))
    assert "Clear-Site-Data" not in review.headers
    assert client.post("/accounts/logout/").headers["Clear-Site-Data"] == '"cache"'
