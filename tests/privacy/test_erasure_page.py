"""Erasure by the page and the command."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from moderation.archive import retention
from moderation.archive.models import Conversation, Message
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import AuditEntry
from recall.models import Recall
from tests.privacy.erased import AT, CANARY, erase, is_anywhere
from tests.recall.reviewing import press

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client: Client, administrator: Any) -> Client:
    client.force_login(administrator)
    return client


ADDRESS = "/senders/default/erase/?id=user-a"
ANSWER = {"reason": "request 7", "typed": "user-a"}


def test_the_page_counts_and_erases_once_the_id_is_typed(admin: Client, recalled: Recall) -> None:
    assert ADDRESS in admin.get("/senders/default/?id=user-a").content.decode()
    page = admin.get(ADDRESS).content.decode()
    assert page.count("<dd>2") == 2
    for wrong in ({"typed": "user-b"}, {"typed": ""}, {"reason": " "}, {"reason": "x" * 201}):
        assert "Nothing was erased." in admin.post(ADDRESS, {**ANSWER, **wrong}).content.decode()
    assert Message.objects.filter(sha256="").count() == 0
    answer = press(admin, ADDRESS, ADDRESS, **ANSWER)
    assert "The text was erased." in answer.content.decode()
    assert Message.objects.filter(sha256="").count() == 2
    assert AuditEntry.objects.get(action="text.erased").detail["reason"] == "request 7"
    # The sender's page, which follows, is a search for the sender.
    assert "There is nothing to erase." not in admin.get(ADDRESS).content.decode()


def test_every_page_says_that_the_text_was_erased(admin: Client, private: Conversation, recalled: Recall) -> None:
    erase(private.application, with_notes=True)
    message = Message.objects.get(message_id="m-0")
    for address in (
        private.get_absolute_url(),
        recalled.get_absolute_url(),
        "/senders/default/?id=user-a",
        reverse("admin:archive_message_change", args=[message.pk]),
        f"/open/?q={AT}",
    ):
        page = admin.get(address, follow=True).content.decode()
        assert "Text erased on request" in page, address
        assert CANARY not in page


def test_the_page_says_that_a_hold_stands_against_it(admin: Client, private: Conversation, recalled: Recall) -> None:
    retention.hold(private, "lea", "court order 7")
    page = admin.get(ADDRESS).content.decode()
    assert "On hold, so that nothing is erased: user-a ↔ user-b." in page
    assert "Erase for good" not in page
    assert "On hold" in admin.post(ADDRESS, ANSWER).content.decode()
    assert Message.objects.filter(sha256="").count() == 0


@pytest.mark.parametrize("role", ["moderator", "lead", "auditor"])
def test_only_an_administrator_can_erase(
    client: Client, make_user: Callable[..., Any], recalled: Recall, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client.force_login(make_user("somebody", role))
    assert client.post(ADDRESS, ANSWER).status_code == 403
    assert "erase/" not in client.get("/senders/default/?id=user-a").content.decode()
    with pytest.raises(SystemExit) as end:
        call_command("erase_text", "--sender", "user-a", "--actor", "somebody", "--reason", "x")
    assert end.value.code == 2
    assert Message.objects.filter(sha256="").count() == 0


def test_the_command_counts_and_then_erases(
    administrator: Any, private: Conversation, recalled: Recall, capsys: pytest.CaptureFixture[str]
) -> None:
    Sealer().seal()
    options = ["--sender", "user-a", "--actor", "ada", "--reason", "request 7", "--json"]

    def run(*more: str) -> dict[str, Any]:
        call_command("erase_text", *options, *more, stdout=(out := io.StringIO()))
        document: dict[str, Any] = json.loads(out.getvalue())
        return document

    counts = {"messages": 2, "evidence": 2, "deliveries": 1, "searches": 0}
    assert run("--dry-run") == {"erased": False, **counts, "notes": 0}
    assert is_anywhere()
    assert run("--with-notes") == {"erased": True, **counts, "notes": 1}
    assert not is_anywhere()
    for wrong, status in (
        ([], 1),
        (["--app", "none"], 2),
        (["--actor", "mo"], 2),
        (["--reason", " "], 2),
        (["1795000000000", "9" * 23], 2),
        (["--", "-1"], 2),
    ):
        with pytest.raises(SystemExit) as end:
            run(*wrong)
        assert end.value.code == status
        if "9" * 23 in wrong:
            assert f"“{'9' * 23}” is no timestamp" in capsys.readouterr().err
