"""Accounts and pseudonyms in Django admin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import NoReverseMatch, reverse

from moderation.accounts.models import Pseudonym, User
from moderation.audit.request_context import COMMAND_LINE, NOBODY, WORKER

pytestmark = pytest.mark.django_db

ADD = "/admin/accounts/user/add/"
NEW_PASSWORD = "another horse battery staple"


@pytest.fixture
def admin(client: Client, administrator: User) -> Client:
    client.force_login(administrator)
    return client


def address(user: User) -> str:
    return reverse("admin:accounts_user_change", args=[user.pk])


def form(user: User, **fields: Any) -> dict[str, Any]:
    return {
        "username": user.username,
        "role": user.role,
        "is_active": "on",
        "media": "blur",
        "theme": "system",
        "grace_seconds": "0",
        "language": "",
        "timezone": "",
        **fields,
    }


def test_a_new_account_has_a_role_and_a_password(admin: Client) -> None:
    data = {"username": "new", "role": "auditor", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    assert admin.post(ADD, data).status_code == 302
    added = User.objects.get(username="new")
    assert added.role == "auditor"
    assert added.is_staff
    assert added.check_password(NEW_PASSWORD)


@pytest.mark.parametrize("name", [COMMAND_LINE, NOBODY, WORKER])
def test_an_account_cannot_have_a_reserved_actor_name(admin: Client, moderator: User, name: str) -> None:
    data = {"username": name, "role": "auditor", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    for page in (admin.post(ADD, data), admin.post(address(moderator), form(moderator, username=name))):
        assert "username" in page.context["adminform"].form.errors
    assert not User.objects.filter(username=name).exists()


LOOK_ALIKES = pytest.mark.parametrize("name", ["ada", "Ada", "ａｄａ", "ＡＤＡ"])


@LOOK_ALIKES
def test_a_new_name_that_looks_like_an_existing_one_is_refused(admin: Client, name: str) -> None:
    data = {"username": name, "role": "auditor", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    assert "A user with that username already exists." in admin.post(ADD, data).content.decode()
    assert User.objects.count() == 1


@LOOK_ALIKES
def test_a_changed_name_that_looks_like_an_existing_one_is_refused(admin: Client, moderator: User, name: str) -> None:
    answer = admin.post(address(moderator), form(moderator, username=name))
    assert "A user with that username already exists." in answer.content.decode()
    moderator.refresh_from_db()
    assert moderator.username == "mo"


def test_a_name_can_change_case_and_an_existing_look_alike_can_be_deactivated(
    admin: Client, moderator: User, make_user: Callable[..., User]
) -> None:
    assert admin.post(address(moderator), form(moderator, username="ＭＯ")).status_code == 302
    moderator.refresh_from_db()
    assert moderator.username == "MO"
    other = make_user("Ada", "lead")
    data = form(other)
    del data["is_active"]
    assert admin.post(address(other), data).status_code == 302
    other.refresh_from_db()
    assert not other.is_active


@LOOK_ALIKES
def test_createsuperuser_refuses_a_look_alike_name(administrator: User, name: str) -> None:
    with pytest.raises(CommandError, match="already"):
        call_command("createsuperuser", "--no-input", username=name, email="")
    assert User.objects.count() == 1


def test_a_weak_password_is_refused(admin: Client) -> None:
    data = {"username": "new", "role": "auditor", "password1": "12345678", "password2": "12345678"}
    assert admin.post(ADD, data).status_code == 200
    assert not User.objects.filter(username="new").exists()


def test_a_new_role_changes_access_to_the_admin(admin: Client, moderator: User) -> None:
    assert admin.post(address(moderator), form(moderator, role="lead", timezone="Asia/Shanghai")).status_code == 302
    moderator.refresh_from_db()
    assert (moderator.role, moderator.is_staff, moderator.timezone) == ("lead", True, "Asia/Shanghai")


def test_a_superuser_who_becomes_a_moderator_has_the_permissions_of_a_moderator(admin: Client) -> None:
    made = User.objects.create_superuser("root", password=NEW_PASSWORD)
    assert made.is_superuser
    admin.post(address(made), form(made, role="moderator"))
    made = User.objects.get(pk=made.pk)
    assert not made.is_superuser
    assert not made.has_perm("audit.view_auditentry")
    assert made.has_perm("recall.add_recall")


def test_a_time_zone_that_does_not_exist_is_refused(admin: Client, moderator: User) -> None:
    response = admin.post(address(moderator), form(moderator, timezone="Asia/Atlantis"))
    assert "timezone" in response.context["adminform"].form.errors


def test_the_form_offers_nothing_that_could_contradict_the_role(admin: Client, moderator: User) -> None:
    for page in (admin.get(address(moderator)), admin.get(ADD)):
        for name in ("is_staff", "is_superuser", "groups", "user_permissions"):
            assert f'name="{name}"' not in page.content.decode()
    admin.post(address(moderator), form(moderator, is_superuser="on", is_staff="on"))
    moderator.refresh_from_db()
    assert not moderator.is_superuser
    assert not moderator.is_staff


def test_groups_have_no_page() -> None:
    with pytest.raises(NoReverseMatch):
        reverse("admin:auth_group_changelist")


def test_admins_cannot_lock_themselves_out(admin: Client, administrator: User) -> None:
    admin.post(address(administrator), form(administrator, role="moderator", is_active=""))
    administrator.refresh_from_db()
    assert administrator.role == "admin"
    assert administrator.is_active
    url = reverse("admin:accounts_user_delete", args=[administrator.pk])
    assert admin.post(url, {"post": "yes"}).status_code == 403


def test_an_account_with_recalls_can_be_deactivated_but_not_deleted(
    admin: Client, moderator: User, lead: User, group: Any, reason: Any
) -> None:
    from recall.models import Recall

    Recall.objects.create(application=group.application, conversation=group, actor=moderator, reason=reason)
    delete = "admin:accounts_user_delete"
    assert admin.post(reverse(delete, args=[moderator.pk]), {"post": "yes"}).status_code == 403
    assert admin.post(reverse(delete, args=[lead.pk]), {"post": "yes"}).status_code == 302
    assert set(User.objects.values_list("username", flat=True)) == {"ada", "mo"}
    data = form(moderator)
    del data["is_active"]
    admin.post(address(moderator), data)
    moderator.refresh_from_db()
    assert not moderator.is_active


def test_an_administrator_can_set_a_password(admin: Client, moderator: User) -> None:
    url = reverse("admin:auth_user_password_change", args=[moderator.pk])
    data = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "usable_password": "true"}
    assert admin.post(url, data).status_code == 302
    moderator.refresh_from_db()
    assert moderator.check_password(NEW_PASSWORD)


def test_an_auditor_sees_accounts_without_their_passwords(client: Client, auditor: User, moderator: User) -> None:
    client.force_login(auditor)
    page = client.get(address(moderator)).content.decode()
    assert "pbkdf2" not in page
    assert "algorithm" not in page
    assert client.post(address(moderator), form(moderator, role="admin")).status_code == 403
    assert client.post(reverse("admin:auth_user_password_change", args=[moderator.pk])).status_code == 403


def pseudonym(user: User, application: Any, **fields: str) -> dict[str, Any]:
    return {
        "user": user.pk,
        "application": application.pk,
        "recaller_id": "support-1",
        "recaller_data": '{"name": "客服"}',
        **fields,
    }


def test_a_lead_can_give_a_moderator_a_pseudonym(client: Client, lead: User, moderator: User, application: Any) -> None:
    client.force_login(lead)
    url = reverse("admin:accounts_pseudonym_add")
    assert client.post(url, pseudonym(moderator, application)).status_code == 302
    given = Pseudonym.objects.get()
    assert (given.user, given.recaller_id, given.recaller_data) == (moderator, "support-1", {"name": "客服"})
    # Each application allows one pseudonym per moderator.
    assert client.post(url, pseudonym(moderator, application)).status_code == 200
    assert Pseudonym.objects.count() == 1


def test_recaller_data_that_is_not_an_object_is_refused(
    client: Client, lead: User, moderator: User, application: Any
) -> None:
    client.force_login(lead)
    response = client.post(
        reverse("admin:accounts_pseudonym_add"), pseudonym(moderator, application, recaller_data="[1]")
    )
    assert "recaller_data" in response.context["adminform"].form.errors
    assert not Pseudonym.objects.exists()


@pytest.mark.parametrize(("role", "status"), [("moderator", 302), ("lead", 403), ("auditor", 200), ("admin", 200)])
def test_the_list_of_accounts_is_shown_to_permitted_roles(
    client: Client, make_user: Callable[..., User], role: str, status: int
) -> None:
    client.force_login(make_user("somebody", role))
    assert client.get("/admin/accounts/user/").status_code == status
