"""Guessing passwords: after some failures nobody is asked for one for a while, and no more entries are written."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from moderation.accounts import attempts
from moderation.audit.models import Action, AuditEntry

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"
NOW = datetime.fromisoformat("2026-01-02T03:04:05+00:00")
PAGES = ["/accounts/login/", "/admin/login/"]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MOST_OF_BOTH", 1)
    monkeypatch.setattr(attempts, "MOST_OF_AN_ACCOUNT", 2)
    monkeypatch.setattr(attempts, "MOST_OF_AN_ADDRESS", 3)


def try_in(client: Client, page: str, name: str, password: str, address: str = "203.0.113.7") -> Any:
    return client.post(page, {"username": name, "password": password}, REMOTE_ADDR=address)


@pytest.mark.parametrize("page", PAGES)
def test_an_account_is_left_alone_after_failures_whatever_the_address(client: Client, lead: Any, page: str) -> None:
    name = lead.get_username()
    with time_machine.travel(NOW, tick=False) as clock:
        for number in range(2):
            assert try_in(client, page, name, "wrong", f"203.0.113.{number}").status_code == 200
        clock.shift(timedelta(minutes=4))
        answer = try_in(client, page, name, PASSWORD, "203.0.113.9")
        assert (answer.status_code, answer["Retry-After"]) == (429, "361")
        assert "Try again in 7 minutes." in answer.content.decode()
        assert AuditEntry.objects.filter(action=Action.SIGN_IN_FAILED).count() == 2
        clock.shift(timedelta(minutes=6))
        assert try_in(client, page, name, PASSWORD).status_code == 302


def test_an_address_is_left_alone_after_failures_whatever_the_name(client: Client, moderator: Any) -> None:
    for number in range(3):
        try_in(client, PAGES[0], f"nobody-{number}", "wrong")
    assert try_in(client, PAGES[0], "mo", PASSWORD).status_code == 429
    assert try_in(client, PAGES[0], "mo", PASSWORD, "203.0.113.8").status_code == 302


def test_who_guesses_from_elsewhere_does_not_keep_the_owner_out(client: Client, moderator: Any) -> None:
    try_in(client, PAGES[0], "mo", "wrong", "203.0.113.9")
    assert try_in(client, PAGES[0], "mo", PASSWORD, "203.0.113.9").status_code == 429
    assert try_in(client, PAGES[0], "mo", PASSWORD, "203.0.113.7").status_code == 302
