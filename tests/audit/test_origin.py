"""The origin of a request: address, user agent and request id, in entries and log lines."""

from __future__ import annotations

import logging
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from moderation.accounts.models import User
from moderation.audit.models import Action, AuditEntry

from . import entries
from .recording import ORIGIN

pytestmark = pytest.mark.django_db


def test_an_entrys_page_shows_its_origin(admin: Client) -> None:
    admin.get("/conversations/?q=x")
    page = admin.get(reverse("admin:audit_auditentry_change", args=[AuditEntry.objects.get().pk])).content.decode()
    facts = page.partition('id="what"')[2].partition("</dl>")[0]
    for fact in ORIGIN.values():
        assert fact in facts
    entries.record(actor="mo", action=Action.SENDING)
    page = admin.get(reverse("admin:audit_auditentry_change", args=[AuditEntry.objects.latest("pk").pk]))
    assert "From where" not in page.content.decode()


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, "198.51.100.1", "203.0.113.7"),
        (1, "198.51.100.1", "198.51.100.1"),
        # The client's own header is to the left of the proxy's.
        (1, "192.0.2.66, 198.51.100.1", "198.51.100.1"),
        (2, "192.0.2.66, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        (2, "198.51.100.1", "203.0.113.7"),
        (1, "", "203.0.113.7"),
        (1, "unknown", "203.0.113.7"),
        (1, "2001:DB8::1", "2001:db8::1"),
    ],
)
def test_a_forwarded_address_is_trusted_for_the_declared_number_of_proxies(
    browser: Client, lead: User, settings: Any, hops: int, forwarded: str, address: str
) -> None:
    settings.FORWARDED_HOPS = hops
    browser.force_login(lead)
    browser.post("/accounts/logout/", headers={"X-Forwarded-For": forwarded})
    assert AuditEntry.objects.get().detail["from"]["address"] == address


def test_a_user_agent_is_cut_and_has_no_control_characters(browser: Client, lead: User) -> None:
    browser.force_login(lead)
    browser.post("/accounts/logout/", headers={"User-Agent": "a\tb\0c\n" + "x" * 1000})
    agent = AuditEntry.objects.get().detail["from"]["user_agent"]
    assert agent == "a\ufffdb\ufffdc\ufffd" + "x" * 194


@pytest.mark.parametrize("given", ["", "short", "two words here", "a" * 101, "line\nbreak-1", "ключ-ключ"])
def test_a_request_without_a_usable_id_gets_one(browser: Client, lead: User, given: str) -> None:
    browser.force_login(lead)
    answer = browser.post("/accounts/logout/", headers={"X-Request-ID": given})
    answered_id = answer.headers["X-Request-ID"]
    assert answered_id != given
    assert len(answered_id) == 32
    assert AuditEntry.objects.get().detail["from"]["request_id"] == answered_id


def test_log_lines_carry_the_id_of_their_request(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    (handler,) = (each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler)
    lines = StringIO()
    monkeypatch.setattr(handler, "stream", lines)
    browser.get("/no/such/page/")
    assert "WARNING django.request request-0001: Not Found" in lines.getvalue()
    logging.getLogger("moderation").warning("by nobody")
    assert "moderation -: by nobody" in lines.getvalue()


def test_a_recall_from_a_browser_records_its_origin_and_the_workers_steps_do_not(
    browser: Client, moderator: User, private: Any, reason: Any, make_message: Any, connected: Any
) -> None:
    from recall.models import Recall
    from tests.recall.reviewing import confirm

    make_message(private, 1_700_000_000_000)
    browser.force_login(moderator)
    form = {
        "app": "default",
        "kind": "private",
        "user_a": "user-a",
        "user_b": "user-b",
        "timestamps": "1700000000000",
        "reason": reason.code,
        "submission": str(uuid4()),
    }
    answer = confirm(browser, reverse("recall-new"), form)
    assert answer.status_code == 303, answer.content.decode()[:2000]
    recall = Recall.objects.get()
    requested = AuditEntry.objects.get(recall=recall.pk, action=Action.REQUESTED)
    assert requested.detail["from"] == ORIGIN
    entries.record(actor="mo", action=Action.SENDING, recall=recall.pk)
    assert AuditEntry.objects.latest("pk").detail == {}
