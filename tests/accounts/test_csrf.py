"""A refused form gets an explanation of the cause; a second sign-in redirects."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"


@pytest.fixture
def browser() -> Client:
    return Client(enforce_csrf_checks=True)


def token(browser: Client, page: str, **options: Any) -> str:
    match = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', browser.get(page, **options).content.decode())
    assert match
    return match[1]


CAUSES = [
    ({"origin": "null"}, "“Origin: null”", "The form was not accepted"),
    ({"origin": "https://else.example"}, "CSRF_TRUSTED_ORIGINS", "“https://else.example”"),
    ({"origin": "http://testserver"}, "belongs to an earlier session", "The form has expired"),
]
SECURE_CAUSES = [
    ({}, "neither Origin nor Referer", "The form was not accepted"),
    ({"referer": "no address"}, "neither Origin nor Referer", "The form was not accepted"),
    ({"referer": "http://testserver/"}, "an unencrypted page", "https://"),
    ({"referer": "https://else.example/x"}, "CSRF_TRUSTED_ORIGINS", "https://else.example/x"),
    ({"referer": "https://testserver/"}, "belongs to an earlier session", "The form has expired"),
]


@pytest.mark.parametrize(
    ("headers", "text", "other", "secure"),
    [*((*cause, False) for cause in CAUSES), *((*cause, True) for cause in SECURE_CAUSES)],
)
def test_each_cause_is_explained(browser: Client, headers: dict[str, str], text: str, other: str, secure: bool) -> None:
    token(browser, reverse("login"), secure=secure)
    form = {"csrfmiddlewaretoken": "x" * 64}
    answer = browser.post(reverse("set-language"), form, headers=headers, secure=secure)
    page = answer.content.decode()
    assert answer.status_code == 403
    assert text in page
    assert other in page
    # Only one cause mentions another tab.
    assert ("in another tab" in page) is ("has expired" in page)


def test_a_missing_cookie_and_a_missing_token_have_different_explanations(browser: Client) -> None:
    assert "sent no cookie" in browser.post(reverse("set-language"), {}).content.decode()
    token(browser, reverse("login"))
    assert "without its security token" in browser.post(reverse("set-language"), {}).content.decode()


def test_the_address_of_another_site_is_escaped_and_cut(browser: Client) -> None:
    token(browser, reverse("login"))
    page = browser.post(reverse("set-language"), headers={"origin": "https://<b>x</b>" + "y" * 999}).content.decode()
    assert "<b>x" not in page
    assert "y" * 201 not in page


@pytest.mark.parametrize("route", ["login", "admin:login"])
def test_a_sign_in_from_a_second_tab_redirects_to_its_target(browser: Client, lead: Any, route: str) -> None:
    address = reverse(route) + "?next=/recalls/"
    form = {"username": lead.get_username(), "password": PASSWORD, "next": "/recalls/"}
    first, second = token(browser, address), token(browser, address)
    assert browser.post(address, {**form, "csrfmiddlewaretoken": first})["Location"] == "/recalls/"
    answer = browser.post(address, {**form, "csrfmiddlewaretoken": second})
    assert (answer.status_code, answer["Location"]) == (302, "/recalls/")
    elsewhere = {**form, "next": "https://evil.example/", "csrfmiddlewaretoken": second}
    assert browser.post(address, elsewhere)["Location"] == "/"


def test_a_visitor_with_an_old_token_is_refused(browser: Client, moderator: Any) -> None:
    token(browser, reverse("login"))
    form = {"username": "mo", "password": PASSWORD, "csrfmiddlewaretoken": "x" * 64}
    assert browser.post(reverse("login"), form).status_code == 403
