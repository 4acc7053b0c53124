"""Sign-in and sign-out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

PASSWORD = "correct horse battery staple"


def test_a_sign_in_redirects_home(client: Client, moderator: Any) -> None:
    answer = client.post(reverse("login"), {"username": "mo", "password": PASSWORD})
    assert answer.status_code == 302
    assert answer["Location"] == "/"


def test_a_sign_in_redirects_to_the_requested_page(client: Client, moderator: Any) -> None:
    assert client.get(reverse("recalls"))["Location"] == "/accounts/login/?next=/recalls/"
    answer = client.post(reverse("login"), {"username": "mo", "password": PASSWORD, "next": "/recalls/"})
    assert answer["Location"] == "/recalls/"


def test_a_sign_in_never_redirects_to_another_site(client: Client, moderator: Any) -> None:
    form = {"username": "mo", "password": PASSWORD, "next": "https://evil.example/"}
    assert client.post(reverse("login"), form)["Location"] == "/"


def test_a_wrong_password_shows_an_error(client: Client, moderator: Any) -> None:
    answer = client.post(reverse("login"), {"username": "mo", "password": "wrong"})
    assert answer.status_code == 200
    assert "correct username and password" in answer.content.decode()
    assert client.get("/").status_code == 302


def test_after_a_wrong_password_the_focus_is_on_the_password(client: Client, moderator: Any) -> None:
    page = client.get(reverse("login")).content.decode()
    assert re.findall(r'<input[^>]*name="(\w+)"[^>]*autofocus', page) == ["username"]
    page = client.post(reverse("login"), {"username": "mo", "password": "wrong"}).content.decode()
    assert re.findall(r'<input[^>]*name="(\w+)"[^>]*autofocus', page) == ["password"]


def test_the_language_can_be_chosen_before_signing_in(client: Client, db: None) -> None:
    answer = client.post(reverse("set-language"), {"language": "zh-hans", "next": "/accounts/login/"})
    assert answer["Location"] == "/accounts/login/"
    assert '<html lang="zh-hans"' in client.get(reverse("login")).content.decode()


def test_a_sign_out_requires_a_post(client: Client, moderator: Any) -> None:
    client.force_login(moderator)
    assert client.get(reverse("logout")).status_code == 405
    assert client.post(reverse("logout"))["Location"] == "/accounts/login/"
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("name", ["preferences", "password_change"])
def test_a_visitor_is_redirected_to_the_sign_in(client: Client, db: None, name: str) -> None:
    assert client.get(reverse(name))["Location"].startswith("/accounts/login/?next=")
