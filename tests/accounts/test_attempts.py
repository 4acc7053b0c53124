"""Password guesses are limited, and nobody's guesses lock out a person on a known device."""

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
    monkeypatch.setattr(attempts, "MAX_PER_DEVICE", 2)
    monkeypatch.setattr(attempts, "MAX_PER_ADDRESS", 1)
    monkeypatch.setattr(attempts, "MAX_PER_ACCOUNT", 2)


def sign_in(client: Client, page: str, name: str, password: str, address: str = "203.0.113.7") -> Any:
    return client.post(page, {"username": name, "password": password}, REMOTE_ADDR=address)


@pytest.mark.parametrize("page", PAGES)
def test_an_account_is_limited_after_failures_from_any_address(
    client: Client, lead: Any, page: str, low_limits: None
) -> None:
    name = lead.get_username()
    with time_machine.travel(NOW, tick=False) as clock:
        for number in range(2):
            assert sign_in(client, page, name, "wrong", f"203.0.113.{number}").status_code == 200
        clock.shift(timedelta(minutes=4))
        answer = sign_in(client, page, name, PASSWORD, "203.0.113.9")
        assert (answer.status_code, answer["Retry-After"]) == (429, "361")
        assert "Try again in 7 minutes." in answer.content.decode()
        assert AuditEntry.objects.filter(action=Action.SIGN_IN_FAILED).count() == 2
        clock.shift(timedelta(minutes=6))
        assert sign_in(client, page, name, PASSWORD).status_code == 302


def test_guesses_from_another_address_do_not_limit_the_owner(client: Client, moderator: Any, low_limits: None) -> None:
    sign_in(client, PAGES[0], "mo", "wrong", "203.0.113.9")
    assert sign_in(client, PAGES[0], "mo", PASSWORD, "203.0.113.9").status_code == 429
    assert sign_in(client, PAGES[0], "mo", PASSWORD, "203.0.113.7").status_code == 302


def test_failures_with_many_names_do_not_delay_another_account(client: Client, moderator: Any) -> None:
    for number in range(40):
        assert sign_in(client, PAGES[0], f"nobody-{number}", "wrong").status_code == 200
    assert sign_in(client, PAGES[0], "mo", PASSWORD).status_code == 302


@pytest.mark.parametrize(("page", "number_of_addresses"), [(PAGES[0], attempts.MAX_PER_ACCOUNT), (PAGES[1], 10)])
def test_guesses_from_many_addresses_do_not_lock_out_a_known_device(
    client: Client, lead: Any, page: str, number_of_addresses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "MAX_PER_ACCOUNT", number_of_addresses)
    name = lead.get_username()
    assert sign_in(client, page, name, PASSWORD).status_code == 302
    client.post("/accounts/logout/")
    for number in range(number_of_addresses + 1):
        sign_in(Client(), page, name, "wrong", f"198.51.100.{number}")
    assert sign_in(Client(), page, name, PASSWORD, "192.0.2.1").status_code == 429
    assert sign_in(client, page, name, PASSWORD).status_code == 302


def test_a_known_device_has_its_own_limit(client: Client, moderator: Any, low_limits: None) -> None:
    sign_in(client, PAGES[0], "mo", PASSWORD)
    client.post("/accounts/logout/")
    for _attempt in range(2):
        assert sign_in(client, PAGES[0], "mo", "wrong").status_code == 200
    assert sign_in(client, PAGES[0], "mo", PASSWORD).status_code == 429
    assert sign_in(Client(), PAGES[0], "mo", PASSWORD).status_code == 302


@pytest.mark.parametrize("change", ["another account", "another password", "forged", "expired"])
def test_a_device_cookie_is_valid_for_one_account_and_one_password(
    client: Client, moderator: Any, lead: Any, change: str, low_limits: None
) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        sign_in(client, PAGES[0], "mo", PASSWORD)
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
        sign_in(Client(), PAGES[0], name, "wrong")
        browser = Client()
        browser.cookies["device"] = cookie
        assert sign_in(browser, PAGES[0], name, password).status_code == 429


def test_the_device_cookie_is_host_only_and_hidden_from_scripts(client: Client, moderator: Any, settings: Any) -> None:
    settings.SESSION_COOKIE_SECURE = True
    answer = client.post(PAGES[0], {"username": "mo", "password": PASSWORD}, secure=True)
    cookie = answer.cookies["__Host-device"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
    assert (cookie["path"], cookie["domain"], cookie["max-age"]) == ("/", "", 180 * 24 * 3600)
    again = client.post("/accounts/logout/", secure=True)
    assert "__Host-device" not in again.cookies
    # Each sign-in gives the device a new id.
    renewed = client.post(PAGES[0], {"username": "mo", "password": PASSWORD}, secure=True).cookies["__Host-device"]
    assert renewed.value != cookie.value


def test_a_spraying_address_has_few_attempts_per_account(
    client: Client, moderator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "SPRAYED_ACCOUNTS", 5)
    for number in range(5):
        sign_in(client, PAGES[0], f"nobody-{number}", "wrong")
    statuses = [sign_in(client, PAGES[0], "mo", "wrong").status_code for _attempt in range(3)]
    assert statuses == [200, 200, 429]
    assert sign_in(client, PAGES[0], "mo", PASSWORD, "203.0.113.8").status_code == 302


def test_existing_and_unknown_names_get_the_same_responses(client: Client, moderator: Any, low_limits: None) -> None:
    def responses(name: str) -> list[tuple[int, str]]:
        attempts = [sign_in(Client(), PAGES[0], name, "wrong", "198.51.100.1") for _attempt in range(3)]
        return [(each.status_code, str(each.context["form"].non_field_errors())) for each in attempts]

    assert responses("mo") == responses("nobody-there")
    assert [status for status, _text in responses("mo")] == [429] * 3


def test_an_unknown_name_takes_as_much_hashing_as_an_existing_one(
    client: Client, moderator: Any, monkeypatch: pytest.MonkeyPatch, low_limits: None
) -> None:
    from django.contrib.auth.hashers import MD5PasswordHasher

    hashed: list[str] = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(
        MD5PasswordHasher, "encode", lambda self, *args: (hashed.append("once"), encode(self, *args))[1]
    )
    hashes_per_status = Counter()
    for name in ("mo", "nobody-there"):
        for _attempt in range(2):
            hashed.clear()
            status = sign_in(Client(), PAGES[0], name, "wrong").status_code
            hashes_per_status[status, len(hashed)] += 1
    assert hashes_per_status == {(200, 1): 2, (429, 0): 2}


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


def test_expired_counters_are_deleted(client: Client, db: None) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        for number in range(20):
            sign_in(client, PAGES[0], f"nobody-{number}", "wrong")
        assert AttemptCount.objects.count() == 40
        clock.shift(timedelta(minutes=21))
        sign_in(client, PAGES[0], "nobody", "wrong")
        assert AttemptCount.objects.count() == 2


def test_unknown_names_do_not_flood_the_audit_log(client: Client, moderator: Any) -> None:
    for number in range(40):
        sign_in(client, PAGES[0], f"nobody-{number}", "wrong")
    failed = AuditEntry.objects.filter(action=Action.SIGN_IN_FAILED)
    assert failed.count() == attempts.MAX_UNKNOWN_NAMES_RECORDED
    sign_in(client, PAGES[0], "mo", "wrong")
    assert failed.latest("pk").detail["account"] == "mo"


def test_a_right_password_is_not_counted_as_a_failure(client: Client, moderator: Any, low_limits: None) -> None:
    for _time in range(4):
        assert sign_in(Client(), PAGES[0], "mo", PASSWORD).status_code == 302


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("on_known_device", [False, True])
def test_ten_of_64_concurrent_attempts_are_checked(
    client: Client, moderator: Any, monkeypatch: pytest.MonkeyPatch, on_known_device: bool
) -> None:
    cookie = ""
    if on_known_device:
        sign_in(client, PAGES[0], "mo", PASSWORD)
        cookie = client.cookies["device"].value
    checked: list[float] = []

    def authenticate(*_args: Any, **_credentials: Any) -> None:
        # About as slow as the real hasher.
        checked.append(time.monotonic())
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
            statuses.append(sign_in(browser, PAGES[0], "mo", "wrong").status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=attempt) for _number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(checked) == 10
    assert Counter(statuses) == {200: 10, 429: 54}
