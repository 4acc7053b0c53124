"""Preferences and the change of a password."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from moderation.audit.models import Action, AuditEntry
from tests.conftest import PASSWORD

CHOSEN = {"language": "zh-hans", "timezone": "Asia/Shanghai", "media": "grey", "theme": "dark", "grace_seconds": 10}


def test_preferences_are_saved_and_take_effect(client: Client, moderator: Any) -> None:
    client.force_login(moderator)
    assert client.post(reverse("preferences"), CHOSEN).status_code == 302
    page = client.get(reverse("preferences")).content.decode()
    assert '<html lang="zh-hans" data-theme="dark">' in page
    assert "Asia/Shanghai (UTC+08:00)" in page
    moderator.refresh_from_db()
    assert moderator.media == "grey"


def test_an_unknown_time_zone_is_refused_by_name(client: Client, moderator: Any) -> None:
    client.force_login(moderator)
    answer = client.post(reverse("preferences"), {**CHOSEN, "timezone": "Mars/Olympus"})
    page = answer.content.decode()
    assert "does not know the time zone “Mars/Olympus”" in page
    assert 'data-theme="system"' in page
    moderator.refresh_from_db()
    assert (moderator.timezone, moderator.theme) == ("", "system")


def test_the_browsers_time_zone_is_preselected_but_not_saved(client: Client, moderator: Any) -> None:
    client.force_login(moderator)
    page = client.get(reverse("preferences"), {"timezone": "Asia/Tokyo"}).content.decode()
    assert 'value="Asia/Tokyo" list="zones"' in page or 'name="timezone" value="Asia/Tokyo"' in page
    moderator.refresh_from_db()
    assert moderator.timezone == ""


def sign_in(client: Client, person: Any, zone: str) -> str:
    """Sign in from a browser in `zone`; the page after it."""
    fields = {"username": person.get_username(), "password": PASSWORD, "browser_zone": zone}
    return client.post(reverse("login"), fields, follow=True).content.decode()


def test_the_first_sign_in_takes_the_browsers_time_zone_and_says_so(client: Client, moderator: Any) -> None:
    assert "Times are shown in Asia/Shanghai, as your browser has it." in sign_in(client, moderator, "Asia/Shanghai")
    moderator.refresh_from_db()
    assert moderator.timezone == "Asia/Shanghai"
    client.logout()
    # A browser elsewhere changes nothing by itself.
    assert "as your browser has it" not in sign_in(client, moderator, "Europe/Paris")
    moderator.refresh_from_db()
    assert moderator.timezone == "Asia/Shanghai"


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../etc/passwd", "x" * 5_000])
def test_a_time_zone_that_the_server_does_not_know_is_not_taken(client: Client, moderator: Any, zone: str) -> None:
    sign_in(client, moderator, zone)
    moderator.refresh_from_db()
    assert moderator.timezone == ""


def test_without_a_zone_of_their_own_people_get_that_of_the_console(
    client: Client, moderator: Any, settings: Any
) -> None:
    settings.CONSOLE_TIME_ZONE = "Asia/Singapore"
    client.force_login(moderator)
    assert "Asia/Singapore (UTC+08:00)" in client.get(reverse("preferences")).content.decode()


def test_the_language_menu_saves_the_language_of_the_user(client: Client, moderator: Any) -> None:
    client.force_login(moderator)
    client.post(reverse("set-language"), {"language": "zh-hans", "next": "/"})
    moderator.refresh_from_db()
    assert moderator.language == "zh-hans"


@pytest.mark.parametrize("language", ["fr", "../../etc", ""])
def test_an_unsupported_language_is_not_saved(client: Client, moderator: Any, language: str) -> None:
    client.force_login(moderator)
    client.post(reverse("set-language"), {"language": language, "next": "/"})
    moderator.refresh_from_db()
    assert moderator.language == ""


def test_a_new_password_has_to_be_typed_twice(client: Client, moderator: Any) -> None:
    client.force_login(moderator)
    form = {"old_password": "correct horse battery staple", "new_password1": "noble metal raven 7", "new_password2": ""}
    assert client.post(reverse("password_change"), form).status_code == 200
    answer = client.post(reverse("password_change"), {**form, "new_password2": form["new_password1"]})
    assert answer["Location"] == "/accounts/preferences/"
    moderator.refresh_from_db()
    assert moderator.check_password("noble metal raven 7")


def change_password(client: Client, old: str) -> Any:
    form = {"old_password": old, "new_password1": "noble metal raven 7", "new_password2": "noble metal raven 7"}
    return client.post(reverse("password_change"), form)


def test_guesses_at_the_current_password_are_recorded_and_limited(client: Client, moderator: Any) -> None:
    client.force_login(moderator)
    statuses = [change_password(client, f"guess {number}").status_code for number in range(11)]
    assert statuses == [200] * 10 + [429]
    answer = change_password(client, "correct horse battery staple")
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 600
    assert "Too many wrong passwords. Try again in 10 minutes." in answer.content.decode()
    moderator.refresh_from_db()
    assert moderator.check_password("correct horse battery staple")
    refused = AuditEntry.objects.filter(action=Action.PASSWORD_REFUSED)
    assert [(entry.actor, entry.detail["account"]) for entry in refused] == [("mo", "mo")] * 10
    # The limit on the session does not affect a new sign-in.
    form = {"username": "mo", "password": "correct horse battery staple"}
    assert Client().post(reverse("login"), form).status_code == 302


def test_a_right_current_password_is_not_counted_as_a_failure(client: Client, moderator: Any) -> None:
    client.force_login(moderator)
    for _time in range(12):
        form = {"old_password": "correct horse battery staple", "new_password1": "a", "new_password2": "b"}
        assert client.post(reverse("password_change"), form).status_code == 200
    assert not AuditEntry.objects.filter(action=Action.PASSWORD_REFUSED).exists()


def test_the_password_page_of_admin_redirects_to_the_console(client: Client, lead: Any) -> None:
    client.force_login(lead)
    for request in (client.get, client.post):
        assert request(reverse("admin:password_change"))["Location"] == reverse("password_change")
