"""What people do apart from recalling is recorded too, with from where they did it, or it does not happen."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from moderation.accounts.models import Pseudonym, User
from moderation.applications.models import Application
from moderation.archive.models import Conversation
from moderation.audit import services
from moderation.audit.models import Action, AuditEntry
from moderation.goeasy.client import Private
from recall.models import RecallReason

from . import entries

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"
NEW_PASSWORD = "another horse battery staple"
LOGIN, ADMIN_LOGIN = "/accounts/login/", "/admin/login/"
FROM = {"HTTP_USER_AGENT": "Browser/1.0", "REMOTE_ADDR": "203.0.113.7", "HTTP_X_REQUEST_ID": "request-0001"}
ORIGIN = {"address": "203.0.113.7", "user_agent": "Browser/1.0", "request_id": "request-0001"}


@pytest.fixture
def browser(client: Client) -> Client:
    client.defaults.update(FROM)
    return client


@pytest.fixture
def admin(browser: Client, administrator: User) -> Client:
    browser.force_login(administrator)
    return browser


def only_entry() -> tuple[str, str, dict[str, Any]]:
    """Actor, action and detail, with what is private, of the only entry; where from is looked at here."""
    entry = AuditEntry.objects.get()
    assert entry.detail.pop("from") == ORIGIN
    if entry.detail.pop("private", None):
        entry.detail |= json.loads(entry.private.content)
    return entry.actor, entry.action, entry.detail


def account(user: User, **fields: Any) -> dict[str, Any]:
    """Django admin's form of an account, as it stands but for `fields`."""
    form = {"username": user.username, "role": user.role, "is_active": "on", "media": "blur", "theme": "system"}
    return {**form, "language": "", "timezone": "", **fields}


def change(user: User) -> str:
    return reverse("admin:accounts_user_change", args=[user.pk])


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
    browser.post(reverse("preferences"), {"language": "en", "timezone": "", "media": "blur", "theme": "dark"})
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


@pytest.mark.django_db(transaction=True)
def test_a_deletion_by_the_list_that_cannot_be_recorded_is_refused(
    failing: Client, administrator: User, moderator: User, application: Any, full: None
) -> None:
    failing.force_login(administrator)
    (given,) = Pseudonym.objects.bulk_create([Pseudonym(application=application, user=moderator, recaller_id="x")])
    form = {"action": "delete_selected", "_selected_action": given.pk, "post": "yes"}
    assert failing.post("/admin/accounts/pseudonym/", form).status_code == 500
    assert Pseudonym.objects.exists()


# Reading


def test_opening_a_private_conversation_is_recorded_each_time(browser: Client, moderator: User, private: Any) -> None:
    browser.force_login(moderator)
    for _time in range(2):
        browser.get(private.get_absolute_url())
    for entry in AuditEntry.objects.all():
        assert (entry.actor, entry.action, entry.app) == ("mo", "conversation.opened", "default")
        assert (entry.kind, entry.user_a, entry.user_b) == ("private", "user-a", "user-b")
        assert entry.detail == {"page": "conversation", "from": ORIGIN}
    assert AuditEntry.objects.count() == 2


@pytest.mark.parametrize(
    "query",
    ["", "?at=1700000000000", "?before=", "?before=x", "?after=1700000000000", "?before=1700000000000-1&after=x"],
)
def test_a_header_cannot_disguise_an_opening_as_a_part(
    browser: Client, moderator: User, private: Any, query: str
) -> None:
    browser.force_login(moderator)
    for number in (1, 2):
        browser.get(private.get_absolute_url() + query, headers={"HX-Request": "true"})
        assert AuditEntry.objects.count() == (1 if "-" in query else number)
    page = "conversation: part" if "-" in query else "conversation"
    assert AuditEntry.objects.earliest("pk").detail["page"] == page


def test_opening_a_group_is_recorded_once_an_hour_for_each_reader(
    browser: Client, moderator: User, lead: User, group: Any, make_message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = make_message(group, 1_700_000_000_000)

    def read_all() -> None:
        for reader in (moderator, lead):
            browser.force_login(reader)
            for _time in range(2):
                browser.get(group.get_absolute_url())
                browser.get(f"{group.get_absolute_url()}?before=1700000000001-1", headers={"HX-Request": "true"})
                browser.get(reverse("conversation-select", args=[group.pk]), {"sender": "user-a"})
        browser.get(reverse("admin:archive_message_change", args=[message.pk]))

    read_all()
    entries = AuditEntry.objects.order_by("pk")
    assert [(entry.actor, entry.action, entry.group_id, entry.detail["page"]) for entry in entries] == [
        (reader.get_username(), "conversation.opened", group.group_id, "conversation") for reader in (moderator, lead)
    ]
    monkeypatch.setattr(services, "REPEATED_READ_WINDOW", timedelta(0))
    read_all()
    assert AuditEntry.objects.count() > 4


def test_a_deliverys_raw_text_is_recorded_once_an_hour_for_each_reader(
    browser: Client, auditor: User, administrator: User, moderator: User, application: Application
) -> None:
    from moderation.ingestion import deliveries
    from moderation.ingestion.models import WebhookDelivery

    for content in (b"no JSON", b"no JSON either"):
        deliveries.accept(application, content)
    pks = list(WebhookDelivery.objects.order_by("pk").values_list("pk", flat=True))
    for reader in (auditor, administrator, moderator):
        browser.force_login(reader)
        for pk in pks * 2:
            browser.get(reverse("admin:ingestion_webhookdelivery_change", args=[pk]))
    entries = AuditEntry.objects.filter(action=Action.DELIVERY_READ).order_by("pk")
    assert [(entry.actor, entry.app, entry.detail["delivery"]) for entry in entries] == [
        (reader.get_username(), "default", pk) for reader in (auditor, administrator) for pk in pks
    ]


def test_requests_of_an_open_page_are_not_recorded_again(browser: Client, moderator: User, private: Any) -> None:
    browser.force_login(moderator)
    browser.get(reverse("conversation-news", args=[private.pk]))
    assert not AuditEntry.objects.exists()
    browser.get(private.get_absolute_url())
    browser.get(f"{private.get_absolute_url()}?before=1700000000000-1", headers={"HX-Request": "true"})
    browser.get(reverse("conversation-select", args=[private.pk]), {"sender": "user-a"})
    assert only_entry() == ("mo", "conversation.opened", {"page": "conversation"})


def test_parts_requested_by_hand_are_recorded_once_an_hour_for_each_reader_and_conversation(
    browser: Client, moderator: User, lead: User, private: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Conversation.objects.open(private.application, Private("user-a", "user-c"))

    def read_all() -> int:
        for reader in (moderator, lead):
            browser.force_login(reader)
            for conversation in (private, other):
                for _time in range(2):
                    browser.get(reverse("conversation-select", args=[conversation.pk]), {"sender": "user-a"})
                    later = f"{conversation.get_absolute_url()}?after=1700000000000-1"
                    browser.get(later, headers={"HX-Request": "true"})
        return AuditEntry.objects.filter(detail__page="conversation: selection").count()

    assert read_all() == read_all() == AuditEntry.objects.count() == 4
    monkeypatch.setattr(services, "REPEATED_READ_WINDOW", timedelta(0))
    assert read_all() > 8


def test_a_message_read_in_django_admin_is_recorded(admin: Client, private: Any, group: Any, make_message: Any) -> None:
    for conversation in (private, group):
        message = make_message(conversation, 1_700_000_000_000)
        admin.get(reverse("admin:archive_message_change", args=[message.pk]))
    entries = AuditEntry.objects.order_by("pk")
    assert [(entry.actor, entry.action, entry.kind, entry.detail["page"]) for entry in entries] == [
        ("ada", "conversation.opened", kind, "admin: message") for kind in ("private", "group")
    ]


@pytest.mark.parametrize(
    ("address", "page", "query"),
    [
        ("/conversations/?q=王伟", "messages", {"q": "王伟"}),
        ("/open/?q=user-a", "open", {"q": "user-a"}),
        ("/admin/archive/message/?sender=user-a&recalled=", "admin: message", {"sender": ["user-a"]}),
        ("/admin/archive/conversation/?ids=user-a", "admin: conversation", {"ids": ["user-a"]}),
    ],
)
def test_searching_is_recorded(admin: Client, address: str, page: str, query: dict[str, Any]) -> None:
    admin.get(address)
    assert only_entry() == ("ada", "messages.searched", {"page": page, "asked": query})


def test_the_preview_of_a_sweep_is_recorded_as_a_search(
    browser: Client, moderator: User, private: Any, reason: Any
) -> None:
    browser.force_login(moderator)
    form = {"app": "default", "sender": "user-a", "since": "2026-01-01T00:00", "until": "2026-01-02T00:00"}
    browser.post(reverse("sweep-new"), {**form, "reason": reason.code, "submission": str(uuid4())})
    actor, action, detail = only_entry()
    assert (actor, action, detail["page"]) == ("mo", "messages.searched", "sweep")
    assert detail["asked"]["sender"] == "user-a"


def test_a_list_without_a_query_is_not_recorded_as_a_search(admin: Client) -> None:
    for address in ("/conversations/", "/conversations/?q=", "/open/", "/admin/archive/message/?before=1"):
        admin.get(address)
    assert not AuditEntry.objects.exists()


# What cannot be recorded does not happen


class Full(Exception):
    """The log takes nothing more."""


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit log that takes nothing."""

    def refuse(_entries: object) -> None:
        raise Full

    monkeypatch.setattr(services, "record_all", refuse)


@pytest.fixture
def failing(browser: Client) -> Client:
    """A browser that is shown error pages, as everybody's is."""
    browser.raise_request_exception = False
    return browser


@pytest.mark.parametrize("page", [LOGIN, ADMIN_LOGIN])
def test_a_sign_in_that_cannot_be_recorded_is_refused(failing: Client, lead: User, full: None, page: str) -> None:
    assert failing.post(page, {"username": "lea", "password": PASSWORD}).status_code == 500
    assert failing.get("/").status_code == 302
    assert User.objects.get().last_login is None


def test_a_sign_out_that_cannot_be_recorded_is_refused(failing: Client, lead: User, full: None) -> None:
    failing.force_login(lead)
    assert failing.post("/accounts/logout/").status_code == 500
    assert failing.get("/").status_code == 200


def test_a_change_that_cannot_be_recorded_is_refused(
    failing: Client, administrator: User, moderator: User, application: Any, reason: Any, full: None
) -> None:
    failing.force_login(administrator)
    kept = [list(model._default_manager.order_by("pk").values()) for model in (User, Application, RecallReason)]
    passwords = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    posts: list[tuple[str, dict[str, Any]]] = [
        (change(moderator), account(moderator, role="lead")),
        ("/admin/accounts/user/add/", {"username": "new", "role": "lead", **passwords}),
        (reverse("admin:auth_user_password_change", args=[moderator.pk]), {**passwords, "usable_password": "true"}),
        (reverse("admin:accounts_user_delete", args=[moderator.pk]), {"post": "yes"}),
        (
            reverse("password_change"),
            {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD},
        ),
        (
            "/admin/applications/application/add/",
            {"name": "Second", "slug": "second", "rest_host_saved": "hangzhou", "recaller_data": ""},
        ),
        (
            reverse("admin:recall_recallreason_change", args=[reason.pk]),
            {"label_en": "Other", "label_zh": "其他", "position": "1"},
        ),
        (
            reverse("admin:accounts_pseudonym_add"),
            {"user": moderator.pk, "application": application.pk, "recaller_id": "x", "recaller_data": ""},
        ),
    ]
    for url, form in posts:
        assert failing.post(url, form).status_code == 500, url
    assert kept == [list(model._default_manager.order_by("pk").values()) for model in (User, Application, RecallReason)]
    assert not Pseudonym.objects.exists()


def test_a_page_whose_reading_cannot_be_recorded_is_refused(
    failing: Client, administrator: User, private: Any, make_message: Any, full: None
) -> None:
    message = make_message(private, 1_700_000_000_000, payload={"text": "between us"})
    failing.force_login(administrator)
    for url in (
        private.get_absolute_url(),
        reverse("admin:archive_message_change", args=[message.pk]),
        "/conversations/?q=user-a",
        "/open/?q=user-a",
        "/admin/archive/message/?sender=user-a",
        "/admin/audit/auditentry/export/?format=jsonl",
    ):
        answer = failing.get(url)
        assert answer.status_code == 500, url
        assert "between us" not in answer.content.decode()


# Where from


def test_an_entrys_page_shows_its_origin(admin: Client) -> None:
    admin.get("/conversations/?q=x")
    page = admin.get(reverse("admin:audit_auditentry_change", args=[AuditEntry.objects.get().pk])).content.decode()
    facts = page.partition('id="what"')[2].partition("</dl>")[0]
    for fact in ORIGIN.values():
        assert fact in facts
    entries.record(actor="mo", action=Action.SENDING)
    page = admin.get(reverse("admin:audit_auditentry_change", args=[AuditEntry.objects.latest("pk").pk]))
    assert "From where" not in page.content.decode()


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, "198.51.100.1", "203.0.113.7"),
        (1, "198.51.100.1", "198.51.100.1"),
        # What the client itself wrote stands to the left of what the proxy saw.
        (1, "192.0.2.66, 198.51.100.1", "198.51.100.1"),
        (2, "192.0.2.66, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        (2, "198.51.100.1", "203.0.113.7"),
        (1, "", "203.0.113.7"),
        (1, "unknown", "203.0.113.7"),
        (1, "2001:DB8::1", "2001:db8::1"),
    ],
)
def test_a_forwarded_address_is_trusted_for_the_declared_number_of_proxies(
    browser: Client, lead: User, settings: Any, hops: int, forwarded: str, address: str
) -> None:
    settings.FORWARDED_HOPS = hops
    browser.force_login(lead)
    browser.post("/accounts/logout/", headers={"X-Forwarded-For": forwarded})
    assert AuditEntry.objects.get().detail["from"]["address"] == address


def test_a_user_agent_is_cut_and_has_no_control_characters(browser: Client, lead: User) -> None:
    browser.force_login(lead)
    browser.post("/accounts/logout/", headers={"User-Agent": "a\tb\0c\n" + "x" * 1000})
    agent = AuditEntry.objects.get().detail["from"]["user_agent"]
    assert agent == "a\ufffdb\ufffdc\ufffd" + "x" * 194


@pytest.mark.parametrize("given", ["", "short", "two words here", "a" * 101, "line\nbreak-1", "ключ-ключ"])
def test_a_request_without_a_usable_id_gets_one(browser: Client, lead: User, given: str) -> None:
    browser.force_login(lead)
    answer = browser.post("/accounts/logout/", headers={"X-Request-ID": given})
    answered_id = answer.headers["X-Request-ID"]
    assert answered_id != given
    assert len(answered_id) == 32
    assert AuditEntry.objects.get().detail["from"]["request_id"] == answered_id


def test_log_lines_carry_the_id_of_their_request(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    (handler,) = (each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler)
    lines = StringIO()
    monkeypatch.setattr(handler, "stream", lines)
    browser.get("/no/such/page/")
    assert "WARNING django.request request-0001: Not Found" in lines.getvalue()
    logging.getLogger("moderation").warning("by nobody")
    assert "moderation -: by nobody" in lines.getvalue()


def test_a_recall_from_a_browser_records_its_origin_and_the_workers_steps_do_not(
    browser: Client, moderator: User, private: Any, reason: Any, make_message: Any, connected: Any
) -> None:
    from recall.models import Recall
    from tests.recall.reviewing import confirm

    make_message(private, 1_700_000_000_000)
    browser.force_login(moderator)
    form = {
        "app": "default",
        "kind": "private",
        "user_a": "user-a",
        "user_b": "user-b",
        "timestamps": "1700000000000",
        "reason": reason.code,
        "submission": str(uuid4()),
    }
    answer = confirm(browser, reverse("recall-new"), form)
    assert answer.status_code == 303, answer.content.decode()[:2000]
    recall = Recall.objects.get()
    requested = AuditEntry.objects.get(recall=recall.pk, action=Action.REQUESTED)
    assert requested.detail["from"] == ORIGIN
    entries.record(actor="mo", action=Action.SENDING, recall=recall.pk)
    assert AuditEntry.objects.latest("pk").detail == {}
