"""Sign-ins and changes of accounts, applications, reasons and pseudonyms are recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from moderation.accounts.models import Pseudonym, User
from moderation.applications.models import Application
from moderation.audit.models import AuditEntry

from .recording import ADMIN_LOGIN, LOGIN, NEW_PASSWORD, PASSWORD, account, change, only_entry

pytestmark = pytest.mark.django_db


# Signing in and out


@pytest.mark.parametrize("page", [LOGIN, ADMIN_LOGIN])
def test_signing_in_is_recorded(browser: Client, lead: User, page: str) -> None:
    assert browser.post(page, {"username": "lea", "password": PASSWORD, "next": "/"}).status_code == 302
    assert only_entry() == ("lea", "auth.signed_in", {})


@pytest.mark.parametrize("page", ["/accounts/logout/", "/admin/logout/"])
def test_signing_out_is_recorded(browser: Client, lead: User, page: str) -> None:
    browser.force_login(lead)
    browser.post(page)
    assert only_entry() == ("lea", "auth.signed_out", {})
    browser.post(page)
    assert AuditEntry.objects.count() == 1


@pytest.mark.parametrize("page", [LOGIN, ADMIN_LOGIN])
@pytest.mark.parametrize(("name", "account_name"), [("mo", "mo"), ("nobody", None), (PASSWORD, None), ("MO", None)])
def test_a_failed_sign_in_names_the_account_if_there_is_one(
    browser: Client, moderator: User, page: str, name: str, account_name: str | None
) -> None:
    browser.post(page, {"username": name, "password": "wrong"})
    assert only_entry() == ("(not signed in)", "auth.sign_in_failed", {"account": account_name, "why": "credentials"})


def test_a_deactivated_account_fails_to_sign_in(browser: Client, make_user: Callable[..., User]) -> None:
    make_user("gone", "admin", is_active=False)
    browser.post(LOGIN, {"username": "gone", "password": PASSWORD})
    assert only_entry()[2] == {"account": "gone", "why": "credentials"}


def test_a_moderator_fails_to_sign_in_to_django_admin(browser: Client, moderator: User) -> None:
    browser.post(ADMIN_LOGIN, {"username": "mo", "password": PASSWORD})
    assert only_entry() == ("(not signed in)", "auth.sign_in_failed", {"account": "mo", "why": "role"})


# Accounts


def test_a_change_of_role_records_both_roles(admin: Client, moderator: User) -> None:
    admin.post(change(moderator), account(moderator, role="lead"))
    changes = {"role": {"from": "moderator", "to": "lead"}}
    assert only_entry() == (
        "ada",
        "account.changed",
        {"did": "changed", "id": moderator.pk, "name": "mo", "changes": changes},
    )


def test_a_deactivation_and_a_new_name_are_recorded(admin: Client, moderator: User) -> None:
    form = account(moderator, username="moe")
    del form["is_active"]
    admin.post(change(moderator), form)
    changes = {"username": {"from": "mo", "to": "moe"}, "is_active": {"from": True, "to": False}}
    assert only_entry()[2]["changes"] == changes


def test_a_new_account_is_recorded_without_its_password(admin: Client) -> None:
    form = {"username": "new", "role": "auditor", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    admin.post("/admin/accounts/user/add/", form)
    detail = only_entry()[2]
    assert (detail["did"], detail["name"], detail["changes"]["password"]) == ("added", "new", "set")
    assert detail["changes"]["role"] == {"from": None, "to": "auditor"}


def test_a_deleted_account_is_recorded(admin: Client, moderator: User) -> None:
    pk = moderator.pk
    admin.post(reverse("admin:accounts_user_delete", args=[pk]), {"post": "yes"})
    detail = only_entry()[2]
    assert (detail["did"], detail["id"], detail["name"]) == ("deleted", pk, "mo")


def test_a_password_set_by_an_administrator_is_recorded(admin: Client, moderator: User) -> None:
    form = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "usable_password": "true"}
    admin.post(reverse("admin:auth_user_password_change", args=[moderator.pk]), form)
    assert only_entry()[2]["changes"] == {"password": "changed"}


def test_a_change_of_ones_own_password_is_recorded(browser: Client, moderator: User) -> None:
    browser.force_login(moderator)
    form = {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    assert browser.post(reverse("password_change"), form).status_code == 302
    actor, action, detail = only_entry()
    assert (actor, action, detail["changes"]) == ("mo", "account.changed", {"password": "changed"})


def test_a_change_of_preferences_is_not_recorded(browser: Client, moderator: User) -> None:
    browser.force_login(moderator)
    browser.post(
        reverse("preferences"),
        {"language": "en", "timezone": "", "media": "blur", "theme": "dark", "grace_seconds": "0"},
    )
    assert User.objects.get().theme == "dark"
    assert not AuditEntry.objects.exists()


def test_a_hash_that_is_renewed_at_sign_in_is_no_new_password(browser: Client, moderator: User, settings: Any) -> None:
    settings.PASSWORD_HASHERS = [*settings.PASSWORD_HASHERS, "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    kept = make_password(PASSWORD, hasher="pbkdf2_sha256")
    User.objects.filter(pk=moderator.pk).update(password=kept)
    browser.post(LOGIN, {"username": "mo", "password": PASSWORD})
    assert User.objects.get().password != kept
    assert only_entry()[1] == "auth.signed_in"


def test_commands_that_make_accounts_and_set_passwords_are_recorded(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", "--no-input", username="root", email="", stdout=StringIO())
    monkeypatch.setattr("getpass.getpass", lambda *_arguments, **_options: NEW_PASSWORD)
    call_command("changepassword", "root", stdout=StringIO())
    made, changed = AuditEntry.objects.order_by("pk")
    assert (made.actor, made.detail["did"], made.detail["changes"]["role"]["to"]) == (
        "(command line)",
        "added",
        "admin",
    )
    assert (changed.actor, changed.detail["changes"]) == ("(command line)", {"password": "changed"})
    assert "from" not in changed.detail


# Applications, reasons, pseudonyms


def test_an_application_and_a_change_of_its_key_are_recorded(admin: Client) -> None:
    form = {"name": "Second", "slug": "second", "rest_host_saved": "hangzhou", "recaller_id": "", "recaller_data": ""}
    keys = {"new_appkey": "BC-canary-1", "new_secret_keys": "canary-2"}
    admin.post("/admin/applications/application/add/", {**form, **keys})
    added = AuditEntry.objects.get()
    assert (added.action, added.app, added.detail["did"]) == ("application.changed", "second", "added")
    assert added.detail["changes"]["appkey_sealed"] == added.detail["changes"]["secret_keys_sealed"] == "set"
    second = Application.objects.get(slug="second")
    url = reverse("admin:applications_application_change", args=[second.pk])
    admin.post(url, {**form, "new_appkey": "BC-canary-3", "rest_host_saved": "singapore"})
    changed = AuditEntry.objects.latest("pk")
    assert changed.detail["changes"] == {
        "rest_host_saved": {"from": "hangzhou", "to": "singapore"},
        "appkey_sealed": "changed",
    }
    admin.post(reverse("admin:applications_application_delete", args=[second.pk]), {"post": "yes"})
    assert AuditEntry.objects.latest("pk").detail["did"] == "deleted"
    assert "canary" not in "".join(json.dumps(entry.detail) for entry in AuditEntry.objects.all())


def test_a_row_without_keys_records_no_removed_key(admin: Client) -> None:
    form = {"name": "Second", "slug": "second", "rest_host_saved": "hangzhou", "recaller_id": "", "recaller_data": ""}
    admin.post("/admin/applications/application/add/", form)
    second = Application.objects.get(slug="second")
    admin.post(reverse("admin:applications_application_delete", args=[second.pk]), {"post": "yes"})
    User(username="new").save()
    added, deleted, account = AuditEntry.objects.order_by("pk")
    assert added.detail["changes"]["slug"] == {"from": None, "to": "second"}
    for entry in (added, deleted, account):
        assert not {"appkey_sealed", "secret_keys_sealed", "password"} & set(entry.detail["changes"])


def test_a_reason_is_recorded_by_its_code(browser: Client, lead: User) -> None:
    browser.force_login(lead)
    form = {"code": "boredom", "label_en": "Boredom", "label_zh": "无聊", "position": "7", "is_active": "on"}
    browser.post("/admin/recall/recallreason/add/", form)
    actor, action, detail = only_entry()
    assert (actor, action, detail["did"], detail["name"]) == ("lea", "reason.changed", "added", "boredom")
    assert detail["changes"]["label_zh"] == {"from": None, "to": "无聊"}


def test_a_pseudonym_is_recorded_with_its_user(browser: Client, lead: User, moderator: User, application: Any) -> None:
    browser.force_login(lead)
    form = {"user": moderator.pk, "application": application.pk, "recaller_id": "support-1", "recaller_data": ""}
    browser.post(reverse("admin:accounts_pseudonym_add"), form)
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.app) == ("lea", "pseudonym.changed", "default")
    assert entry.detail["name"] == "mo"
    assert entry.detail["changes"]["recaller_id"] == {"from": None, "to": "support-1"}


def test_pseudonyms_deleted_by_the_list_or_with_an_account_are_recorded(
    admin: Client, moderator: User, lead: User, application: Any
) -> None:
    given = [Pseudonym(application=application, user=user, recaller_id=user.username) for user in (moderator, lead)]
    Pseudonym.objects.bulk_create(given)
    form = {"action": "delete_selected", "_selected_action": given[0].pk, "post": "yes"}
    admin.post("/admin/accounts/pseudonym/", form)
    admin.post(reverse("admin:accounts_user_delete", args=[lead.pk]), {"post": "yes"})
    assert not Pseudonym.objects.exists()
    entries = AuditEntry.objects.filter(action="pseudonym.changed").order_by("pk")
    assert [(each.actor, each.detail["did"], each.detail["name"]) for each in entries] == [
        ("ada", "deleted", "mo"),
        ("ada", "deleted", "lea"),
    ]
    assert AuditEntry.objects.get(action="account.changed").detail["name"] == "lea"
