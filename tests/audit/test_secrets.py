"""A secret that was entered into a form appears nowhere: entries, exports, pages, log lines."""

from __future__ import annotations

import json
import logging
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from moderation.accounts.models import User
from moderation.applications.models import Application
from moderation.audit import services
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import AuditEntry

pytestmark = pytest.mark.django_db

CANARY = "c4n4ry-9f3b7a"
PASSWORD = "correct horse battery staple"
APPLICATION = {"name": "Second", "slug": "second", "rest_host_saved": "hangzhou", "recaller_data": ""}


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """The log of the process, including debug messages."""
    (handler,) = (each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler)
    lines = StringIO()
    monkeypatch.setattr(handler, "stream", lines)
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    return lines


def type_it_everywhere(client: Client, administrator: User, moderator: User) -> list[bytes]:
    """Submit every form with a secret, valid and invalid. Returns the pages."""
    new, other = {"password1": CANARY, "password2": CANARY}, {"password1": CANARY, "password2": "other"}
    own = {"new_password1": CANARY, "new_password2": CANARY}
    set_password = reverse("admin:auth_user_password_change", args=[moderator.pk])
    posts: list[tuple[str, dict[str, Any]]] = [
        ("/admin/accounts/user/add/", {"username": "new", "role": "admin", **other}),
        ("/admin/accounts/user/add/", {"username": "new", "role": "admin", **new}),
        (set_password, {**other, "usable_password": "true"}),
        (set_password, {**new, "usable_password": "true"}),
        ("/accounts/password/", {"old_password": CANARY, **own}),
        ("/accounts/password/", {"old_password": PASSWORD, **own}),
        ("/admin/applications/application/add/", {**APPLICATION, "slug": "no slug", "new_appkey": f"BC-{CANARY}"}),
        ("/admin/applications/application/add/", {**APPLICATION, "new_appkey": f"BC {CANARY}"}),
        (
            "/admin/applications/application/add/",
            {**APPLICATION, "new_appkey": f"BC-{CANARY}", "new_secret_keys": f"{CANARY},{CANARY}-2"},
        ),
    ]
    pages = []
    for url, form in posts:
        client.force_login(User.objects.get(pk=administrator.pk))
        pages.append(client.post(url, form).content)
    client.cookies.clear()
    for url in ("/accounts/login/", "/admin/login/"):
        for form in ({"username": CANARY, "password": "x"}, {"username": "mo", "password": f"{CANARY}-no"}):
            # The form shows the entered name again.
            shown = client.post(url, form).content
            pages.append(shown.replace(f'value="{CANARY}"'.encode(), b"") if form["username"] == CANARY else shown)
        client.post(url, {"username": "ada", "password": CANARY})
        client.post("/accounts/logout/")
    return pages


def test_a_secret_appears_nowhere(
    client: Client, administrator: User, moderator: User, log_lines: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.raise_request_exception = False
    pages = type_it_everywhere(client, administrator, moderator)
    actions = set(AuditEntry.objects.values_list("action", flat=True))
    # The forms were accepted.
    assert {"auth.signed_in", "auth.sign_in_failed", "account.changed", "application.changed"} <= actions
    assert Application.objects.get(slug="second").appkey() == f"BC-{CANARY}"
    assert User.objects.get(username="ada").check_password(CANARY)
    # The same while nothing can be recorded: error pages and tracebacks.
    with monkeypatch.context() as patch:
        patch.setattr(services, "record_all", lambda _entries: 1 / 0)
        pages += type_it_everywhere(client, administrator, moderator)
    assert "ZeroDivisionError" in log_lines.getvalue()

    Sealer().seal()
    client.force_login(User.objects.get(pk=administrator.pk))
    for name in ("audit_auditentry", "applications_application", "accounts_user"):
        pages.append(client.get(reverse(f"admin:{name}_changelist")).content)
    for entry in AuditEntry.objects.all():
        pages.append(client.get(reverse("admin:audit_auditentry_change", args=[entry.pk])).content)
    pages.append(
        client.get(reverse("admin:applications_application_change", args=[Application.objects.latest("pk").pk])).content
    )
    for kind in ("jsonl", "csv"):
        exported = client.get(reverse("admin:audit_auditentry_export"), {"format": kind})
        pages.append(b"".join(exported))  # type: ignore[call-overload]
        call_command("export_audit", "--format", kind, stdout=(written := StringIO()))
        pages.append(written.getvalue().encode())
    for page in pages:
        assert CANARY not in page.decode()
    assert CANARY not in json.dumps(list(AuditEntry.objects.values()), default=str)
    assert CANARY not in log_lines.getvalue()
