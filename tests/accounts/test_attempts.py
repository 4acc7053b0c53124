"""Guessing passwords is limited, and nobody's guesses keep out a person who signs in from a device of theirs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client

from moderation.accounts import attempts
from moderation.accounts.backends import RoleBackend
from moderation.accounts.models import AttemptCount
from moderation.audit.models import Action, AuditEntry

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"
NOW = datetime.fromisoformat("2026-01-02T03:04:05+00:00")
PAGES = ["/accounts/login/", "/admin/login/"]


@pytest.fixture
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_FROM_A_DEVICE", 2)
    monkeypatch.setattr(attempts, "MAX_FROM_AN_ADDRESS", 1)
    monkeypatch.setattr(attempts, "MAX_FROM_ANYWHERE", 2)


def try_in(client: Client, page: str, name: str, password: str, address: str = "203.0.113.7") -> Any:
    return client.post(page, {"username": name, "password": password}, REMOTE_ADDR=address)


@pytest.mark.parametrize("page", PAGES)
def test_an_account_waits_after_failures_from_any_address(
    client: Client, lead: Any, page: str, low_limits: None
) -> None:
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


def test_guesses_from_another_address_leave_the_owner_alone(client: Client, moderator: Any, low_limits: None) -> None:
    try_in(client, PAGES[0], "mo", "wrong", "203.0.113.9")
    assert try_in(client, PAGES[0], "mo", PASSWORD, "203.0.113.9").status_code == 429
    assert try_in(client, PAGES[0], "mo", PASSWORD, "203.0.113.7").status_code == 302


def test_thirty_names_from_one_address_delay_nobody_else(client: Client, moderator: Any) -> None:
    for number in range(40):
        assert try_in(client, PAGES[0], f"nobody-{number}", "wrong").status_code == 200
    assert try_in(client, PAGES[0], "mo", PASSWORD).status_code == 302


@pytest.mark.parametrize(("page", "number_of_addresses"), [(PAGES[0], attempts.MAX_FROM_ANYWHERE), (PAGES[1], 10)])
def test_a_hundred_addresses_do_not_keep_out_a_device_that_signed_in_before(
    client: Client, lead: Any, page: str, number_of_addresses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "MAX_FROM_ANYWHERE", number_of_addresses)
    name = lead.get_username()
    assert try_in(client, page, name, PASSWORD).status_code == 302
    client.post("/accounts/logout/")
    for number in range(number_of_addresses + 1):
        try_in(Client(), page, name, "wrong", f"198.51.100.{number}")
    assert try_in(Client(), page, name, PASSWORD, "192.0.2.1").status_code == 429
    assert try_in(client, page, name, PASSWORD).status_code == 302


def test_a_device_has_a_limit_of_its_own(client: Client, moderator: Any, low_limits: None) -> None:
    try_in(client, PAGES[0], "mo", PASSWORD)
    client.post("/accounts/logout/")
    for _attempt in range(2):
        assert try_in(client, PAGES[0], "mo", "wrong").status_code == 200
    assert try_in(client, PAGES[0], "mo", PASSWORD).status_code == 429
    assert try_in(Client(), PAGES[0], "mo", PASSWORD).status_code == 302


@pytest.mark.parametrize("change", ["another account", "another password", "forged", "expired"])
def test_a_device_cookie_serves_one_account_and_one_password(
    client: Client, moderator: Any, lead: Any, change: str, low_limits: None
) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        try_in(client, PAGES[0], "mo", PASSWORD)
        cookie = client.cookies["device"].value
        name, password = "mo", PASSWORD
        match change:
            case "another account":
                name = lead.get_username()
            case "another password":
                password = "noble metal raven 7"
                moderator.set_password(password)
                moderator.save()
            case "forged":
                cookie = cookie[:-1] + ("A" if cookie[-1] != "A" else "B")
            case "expired":
                clock.shift(timedelta(days=181))
        try_in(Client(), PAGES[0], name, "wrong")
        browser = Client()
        browser.cookies["device"] = cookie
        assert try_in(browser, PAGES[0], name, password).status_code == 429


def test_the_device_cookie_is_for_this_host_and_no_script(client: Client, moderator: Any, settings: Any) -> None:
    settings.SESSION_COOKIE_SECURE = True
    answer = client.post(PAGES[0], {"username": "mo", "password": PASSWORD}, secure=True)
    cookie = answer.cookies["__Host-device"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
    assert (cookie["path"], cookie["domain"], cookie["max-age"]) == ("/", "", 180 * 24 * 3600)
    again = client.post("/accounts/logout/", secure=True)
    assert "__Host-device" not in again.cookies
    # Each sign-in gives the device a new number.
    renewed = client.post(PAGES[0], {"username": "mo", "password": PASSWORD}, secure=True).cookies["__Host-device"]
    assert renewed.value != cookie.value


def test_who_tries_one_password_on_many_names_has_few_attempts_on_each(
    client: Client, moderator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "MAX_ACCOUNTS_OF_AN_ADDRESS", 5)
    for number in range(5):
        try_in(client, PAGES[0], f"nobody-{number}", "wrong")
    statuses = [try_in(client, PAGES[0], "mo", "wrong").status_code for _attempt in range(3)]
    assert statuses == [200, 200, 429]
    assert try_in(client, PAGES[0], "mo", PASSWORD, "203.0.113.8").status_code == 302


def test_known_and_unknown_names_get_the_same_answers(client: Client, moderator: Any, low_limits: None) -> None:
    def answers(name: str) -> list[tuple[int, str]]:
        found = [try_in(Client(), PAGES[0], name, "wrong", "198.51.100.1") for _attempt in range(3)]
        return [(each.status_code, str(each.context["form"].non_field_errors())) for each in found]

    assert answers("mo") == answers("nobody-there")
    assert [status for status, _text in answers("mo")] == [429] * 3


def test_an_unknown_name_costs_as_much_hashing_as_a_known_one(
    client: Client, moderator: Any, monkeypatch: pytest.MonkeyPatch, low_limits: None
) -> None:
    from django.contrib.auth.hashers import MD5PasswordHasher

    hashed: list[str] = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(
        MD5PasswordHasher, "encode", lambda self, *args: (hashed.append("once"), encode(self, *args))[1]
    )
    found = Counter()
    for name in ("mo", "nobody-there"):
        for _attempt in range(2):
            hashed.clear()
            status = try_in(Client(), PAGES[0], name, "wrong").status_code
            found[status, len(hashed)] += 1
    assert found == {(200, 1): 2, (429, 0): 2}


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
    ],
)
def test_an_ipv6_address_counts_as_its_64_bit_network(first: str, second: str, same: bool) -> None:
    assert (attempts.network(first) == attempts.network(second)) is same


def test_counts_that_are_over_are_deleted(client: Client, db: None) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        for number in range(20):
            try_in(client, PAGES[0], f"nobody-{number}", "wrong")
        assert AttemptCount.objects.count() == 40
        clock.shift(timedelta(minutes=21))
        try_in(client, PAGES[0], "nobody", "wrong")
        assert AttemptCount.objects.count() == 2


def test_unknown_names_from_one_address_do_not_fill_the_log(client: Client, moderator: Any) -> None:
    for number in range(40):
        try_in(client, PAGES[0], f"nobody-{number}", "wrong")
    failed = AuditEntry.objects.filter(action=Action.SIGN_IN_FAILED)
    assert failed.count() == attempts.MAX_UNKNOWN_NAMES_RECORDED
    try_in(client, PAGES[0], "mo", "wrong")
    assert failed.latest("pk").detail["account"] == "mo"


def test_the_right_password_counts_as_no_failure(client: Client, moderator: Any, low_limits: None) -> None:
    for _time in range(4):
        assert try_in(Client(), PAGES[0], "mo", PASSWORD).status_code == 302


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("known_device", [False, True])
def test_of_64_attempts_at_one_time_ten_are_tried(
    client: Client, moderator: Any, monkeypatch: pytest.MonkeyPatch, known_device: bool
) -> None:
    cookie = ""
    if known_device:
        try_in(client, PAGES[0], "mo", PASSWORD)
        cookie = client.cookies["device"].value
    tried: list[float] = []

    def authenticate(*_args: Any, **_credentials: Any) -> None:
        # As slow as the real hasher.
        tried.append(time.monotonic())
        time.sleep(0.2)

    monkeypatch.setattr(RoleBackend, "authenticate", authenticate)
    statuses: list[int] = []
    start = threading.Barrier(64)

    def attempt() -> None:
        browser = Client()
        if cookie:
            browser.cookies["device"] = cookie
        start.wait()
        try:
            statuses.append(try_in(browser, PAGES[0], "mo", "wrong").status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=attempt) for _number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tried) == 10
    assert Counter(statuses) == {200: 10, 429: 54}
