"""Every page of Django admin, the audit log above all: no axe violation (WCAG 2.2 A, AA), no CSP violation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from tests.browser.pages import DRESSES, LOOKS, routes, visit

OpenBrowser = Callable[..., Page]

# What answers with no page of its own, or with one of the desk's.
NO_PAGE = {
    *("admin:", "admin:login", "admin:logout", "admin:autocomplete", "admin:jsi18n", "admin:view_on_site"),
    *("admin:password_change", "admin:password_change_done"),
    *(f"admin:audit_auditentry_{page}" for page in ("export", "verify", "prepare", "download", "columns")),
    "admin:ingestion_webhookdelivery_retry",
}
AUDIT_LOG = [
    "/admin/audit/auditentry/",
    "/admin/audit/auditentry/?response_code=200&response_code=401&action=recall.answered",
    "/admin/audit/auditentry/?since=nonsense",
    "/admin/audit/auditentry/?conversation=nowhere",
]


def admin_pages(world: dict[str, Any]) -> list[str]:
    """An address for every route of Django admin."""
    addresses = []
    for name, pattern in routes():
        if not name.startswith("admin:") or name in NO_PAGE:
            continue
        model = name.removeprefix("admin:").rpartition("_")[0]
        if name == "admin:auth_user_password_change":
            model = "accounts_user"
        if name == "admin:app_list":
            addresses.append("/admin/recall/")
        elif name == "admin:audit_auditentry_job":
            addresses += [reverse(name, args=[job]) for job in world["jobs"]]
        else:
            addresses.append(reverse(name, args=[world["ids"][model]] if "<" in pattern else []))
    return addresses


def test_an_admin_tests_the_connection_and_copies_the_webhooks_address(
    open_browser: OpenBrowser, world: dict[str, Any]
) -> None:
    page = open_browser("ada")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(reverse("admin:applications_application_change", args=[world["ids"]["applications_application"]]))
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.endswith("/webhooks/goeasy/default/")
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator(".messagelist .success")).to_contain_text("accepted the key for reading")
    expect(page.get_by_role("link", name="Console", exact=True)).to_have_attribute("href", "/")


@pytest.mark.parametrize(
    ("username", "dress", "share"),
    [("ada", "light", 1), ("audrey", "phone", 4), ("lea", "dark", 4), ("zhao", "dark phone", 3)],
)
def test_a_page_of_admin_is_accessible(
    open_browser: OpenBrowser, world: dict[str, Any], username: str, dress: str, share: int
) -> None:
    entries = [f"/admin/audit/auditentry/{seq}/change/" for seq in world["entries"]]
    addresses = [*admin_pages(world), *AUDIT_LOG, *entries]
    visit(open_browser(username, **DRESSES[dress]), addresses[dress == "dark" :: share] if LOOKS else addresses)
