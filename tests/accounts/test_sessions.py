"""A session is extended by use, and not by the polling of an open page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"
NOW = datetime.fromisoformat("2026-01-02T03:04:05+00:00")


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def browser(client: Client, moderator: Any, clock: Any) -> Client:
    client.post("/accounts/login/", {"username": "mo", "password": PASSWORD})
    return client


def test_a_session_in_use_is_extended(browser: Client, clock: Any) -> None:
    for _time in range(6):
        clock.shift(timedelta(hours=8))
        answer = browser.get("/recalls/")
        assert answer.status_code == 200
        assert answer.cookies["sessionid"]["max-age"] == 12 * 3600


def test_an_unused_session_expires_after_twelve_hours(browser: Client, clock: Any) -> None:
    clock.shift(timedelta(hours=12, seconds=1))
    assert browser.get("/recalls/").status_code == 302


def test_polling_does_not_extend_a_session(browser: Client, private: Any, clock: Any) -> None:
    for _time in range(2):
        clock.shift(timedelta(hours=5))
        address = f"/conversations/{private.pk}/news/"
        answer = browser.get(address, {"after": "0-0", "seen": "x"}, headers={"hx-request": "true"})
        assert answer.status_code in {200, 204}
        assert "sessionid" not in answer.cookies
        answer = browser.get("/conversations/rows/", {"seen": ""}, headers={"hx-request": "true"})
        assert "sessionid" not in answer.cookies
    clock.shift(timedelta(hours=3))
    assert browser.get("/recalls/").status_code == 302


def test_a_session_in_use_expires_after_a_week(browser: Client, clock: Any) -> None:
    for _time in range(20):
        clock.shift(timedelta(hours=8))
        assert browser.get("/recalls/").status_code == 200
    clock.shift(timedelta(hours=8, seconds=1))
    assert browser.get("/recalls/").status_code == 302


def test_the_use_of_a_session_is_stored_once_an_hour(browser: Client, clock: Any) -> None:
    assert "sessionid" not in browser.get("/recalls/").cookies
    clock.shift(timedelta(minutes=61))
    assert "sessionid" in browser.get("/recalls/").cookies
    assert "sessionid" not in browser.get("/recalls/").cookies
