"""No change can remove the last admin who can sign in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from moderation.accounts.models import LastAdminError, User

pytestmark = pytest.mark.django_db

MESSAGE = "At least one administrator must be able to sign in."


def demote(user: User) -> None:
    user.role = "moderator"
    user.save()


def demote_by_name(user: User) -> None:
    user.role = "moderator"
    user.save(update_fields=["role"])


def deactivate(user: User) -> None:
    user.is_active = False
    user.save(update_fields=["is_active"])


def take_password(user: User) -> None:
    user.set_unusable_password()
    user.save()


def empty_password(user: User) -> None:
    user.password = ""
    user.save()


def update(user: User) -> None:
    User.objects.filter(pk=user.pk).update(role="lead")


def bulk_update(user: User) -> None:
    user.is_active = False
    User.objects.bulk_update([user], ["is_active"])


def delete(user: User) -> None:
    user.delete()


def delete_all(user: User) -> None:
    User.objects.all().delete()


REMOVALS = [demote, demote_by_name, deactivate, take_password, empty_password, update, bulk_update, delete, delete_all]


@pytest.mark.parametrize("remove", REMOVALS)
def test_the_last_admin_cannot_be_removed(administrator: User, make_user: Any, remove: Callable[[User], None]) -> None:
    make_user("mo", "moderator")
    make_user("away", "admin", is_active=False)
    with pytest.raises(LastAdminError), transaction.atomic():
        remove(User.objects.get(pk=administrator.pk))
    assert User.objects.get(pk=administrator.pk).is_usable_admin


@pytest.mark.parametrize("remove", REMOVALS[:-1])
def test_one_of_two_admins_can_be_removed(administrator: User, make_user: Any, remove: Callable[[User], None]) -> None:
    make_user("zhao", "admin")
    remove(User.objects.get(pk=administrator.pk))
    assert not User.objects.filter(pk=administrator.pk, role="admin", is_active=True, password__regex="^[^!]").exists()


def test_an_admin_without_a_password_can_be_changed(moderator: User) -> None:
    user = User.objects.create(username="made", role="admin")
    demote(user)
    assert User.objects.get(pk=user.pk).role == "moderator"


def test_the_password_page_explains_why_the_last_admin_keeps_a_password(client: Client, administrator: User) -> None:
    client.force_login(administrator)
    form = {"usable_password": "false", "unset-password": "1"}
    address = reverse("admin:auth_user_password_change", args=[administrator.pk])
    assert MESSAGE in client.post(address, form, follow=True).content.decode()
    assert User.objects.get(pk=administrator.pk).is_usable_admin


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("repetition", range(3))
@pytest.mark.parametrize("change", ["demote", "delete"])
def test_two_admins_who_remove_each_other_leave_one(make_user: Any, change: str, repetition: int) -> None:
    pair = [make_user(f"admin-{number}", "admin") for number in range(2)]
    browsers = [Client(raise_request_exception=False), Client(raise_request_exception=False)]
    for browser, user in zip(browsers, pair, strict=True):
        browser.force_login(user)
    start = threading.Barrier(2)
    statuses: list[int] = []

    def remove_other(number: int) -> None:
        other = pair[1 - number]
        page = "delete" if change == "delete" else "change"
        fields = {
            "username": other.username,
            "role": "moderator",
            "is_active": "on",
            "media": "blur",
            "theme": "system",
            "grace_seconds": "0",
        }
        start.wait()
        try:
            address = reverse(f"admin:accounts_user_{page}", args=[other.pk])
            statuses.append(
                browsers[number]
                .post(address, {**fields, "media": "blur", "theme": "system", "grace_seconds": "0"})
                .status_code
            )
        finally:
            connection.close()

    threads = [threading.Thread(target=remove_other, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [status for status in statuses if status >= 500] == []
    assert len([user for user in User.objects.all() if user.is_usable_admin]) == 1
