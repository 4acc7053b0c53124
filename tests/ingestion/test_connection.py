"""The button that tests the connection to GoEasy."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from moderation.audit.models import Action, AuditEntry
from moderation.goeasy.sandbox import Sandbox
from moderation.ingestion import connection

pytestmark = pytest.mark.django_db


def press(client: Client, slug: str = "default") -> str:
    return client.post(reverse("application-test", args=[slug]), follow=True).content.decode()


def latest_test() -> AuditEntry:
    return AuditEntry.objects.get(action=Action.CONNECTION_TESTED)


@pytest.fixture
def admin(client: Client, administrator: Any) -> Client:
    client.force_login(administrator)
    return client


def test_a_key_that_goeasy_takes_is_said_to_be_accepted_and_nothing_is_changed(
    admin: Client, connected: Any, sandbox: Sandbox
) -> None:
    page = press(admin)
    assert "accepted the key for reading. Nothing was changed." in page
    assert (latest_test().detail["problem"], latest_test().response_code) == (None, 200)
    assert latest_test().actor == "ada"
    assert not sandbox.calls("recall")
    assert len(sandbox.calls("history")) == 1


@pytest.mark.parametrize(
    ("rule", "problem", "sentence"),
    [
        ({"kind": "refuse", "code": 401}, "refused", "GoEasy’s code: 401."),
        ({"kind": "drop_after"}, "connection_lost", "The connection was lost before GoEasy answered."),
    ],
)
def test_a_failure_is_said_in_a_sentence_and_recorded(
    admin: Client, connected: Any, sandbox: Sandbox, rule: dict[str, Any], problem: str, sentence: str
) -> None:
    sandbox.set_faults([{"on": "history", **rule}])
    page = press(admin)
    assert "The connection does not work" in page
    assert sentence in page
    assert latest_test().detail["problem"] == problem


def test_an_application_without_a_key_calls_nobody(admin: Client, application: Any, settings: Any) -> None:
    settings.GOEASY_APPKEY = ""
    assert "The application has no key." in press(admin)
    assert latest_test().detail["problem"] == "not_configured"


def test_a_busy_application_is_not_waited_for(admin: Client, application: Any, monkeypatch: Any) -> None:
    def exceeded(*_arguments: Any, **_options: Any) -> None:
        raise connection.admission.PaceExceeded("later")

    monkeypatch.setattr(connection.admission, "wait_for_pace", exceeded)
    assert "allows no more requests at the moment" in press(admin)


def test_only_a_saved_application_can_be_tested(admin: Client) -> None:
    assert admin.post(reverse("application-test", args=["nowhere"])).status_code == 404
