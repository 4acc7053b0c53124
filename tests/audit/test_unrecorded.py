"""An action that cannot be recorded does not happen."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from moderation.accounts.models import Pseudonym, User
from moderation.applications.models import Application
from recall.models import RecallReason

from .recording import ADMIN_LOGIN, LOGIN, NEW_PASSWORD, PASSWORD, account, change

pytestmark = pytest.mark.django_db


@pytest.mark.django_db(transaction=True)
def test_a_deletion_by_the_list_that_cannot_be_recorded_is_refused(
    failing: Client, administrator: User, moderator: User, application: Any, full: None
) -> None:
    failing.force_login(administrator)
    (given,) = Pseudonym.objects.bulk_create([Pseudonym(application=application, user=moderator, recaller_id="x")])
    form = {"action": "delete_selected", "_selected_action": given.pk, "post": "yes"}
    assert failing.post("/admin/accounts/pseudonym/", form).status_code == 500
    assert Pseudonym.objects.exists()


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
