"""The recaller that app users see: the person's pseudonym; only leads and admins may choose another one."""

from __future__ import annotations

import io
import uuid
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from moderation.accounts.models import Pseudonym
from moderation.accounts.roles import Role, role_allows
from moderation.audit.models import AuditEntry
from moderation.goeasy.client import Recaller
from recall.models import Recall

from .reviewing import confirm, review

FIRST = 1_700_000_000_000
NEW, SWEEP = "/recalls/new/", "/sweeps/new/"
CARE = {"recaller_id": "care-7", "recaller_data": '{"name": "客服"}'}
CHANGED = "Changed for this recall"
REFUSED = "Only a lead may change what app users see of you."


@pytest.fixture(autouse=True)
def cast(private: Any, reason: Any, moderator: Any, lead: Any, make_message: Any, application: Any) -> None:
    make_message(private, FIRST)
    for person in (moderator, lead):
        Pseudonym.objects.create(
            application=application, user=person, recaller_id="care-7", recaller_data={"name": "客服"}
        )


def form(address: str, **fields: str) -> dict[str, str]:
    common = {"app": "default", "reason": "spam", "submission": str(uuid.uuid4()), **fields}
    if address == NEW:
        return {"kind": "private", "user_a": "user-a", "user_b": "user-b", "timestamps": str(FIRST), **common}
    return {"sender": "user-a", "since": "2023-11-13T00:00:00", "until": "2023-11-16T00:00:00", **common}


@pytest.mark.parametrize(
    ("role", "may"), [(Role.MODERATOR, False), (Role.LEAD, True), (Role.AUDITOR, False), (Role.ADMIN, True)]
)
def test_choosing_the_recaller_is_a_right_of_leads_and_admins(role: str, may: bool) -> None:
    assert role_allows(role, "recall.override_recaller") is may


@pytest.mark.parametrize("address", [NEW, SWEEP])
@pytest.mark.parametrize("confirmed", [{}, {"confirm": "1", "typed_count": "1"}])
@pytest.mark.parametrize(
    "posted",
    [{"recaller_id": "CEO"}, {**CARE, "recaller_data": '{"name": "CEO"}'}, {"recaller_id": ""}, {"recaller_data": "["}],
)
def test_a_moderator_who_sends_another_recaller_is_refused(
    client: Client, moderator: Any, address: str, confirmed: dict[str, str], posted: dict[str, str]
) -> None:
    client.force_login(moderator)
    answer = client.post(address, form(address, **posted, **confirmed))
    assert REFUSED in answer.content.decode()
    assert not Recall.objects.exists()


@pytest.mark.parametrize("address", [NEW, SWEEP])
@pytest.mark.parametrize("posted", [{}, CARE])
def test_a_moderator_recalls_under_their_pseudonym(
    client: Client, moderator: Any, address: str, posted: dict[str, str]
) -> None:
    client.force_login(moderator)
    assert CHANGED not in client.post(address, form(address, **posted)).content.decode()
    assert confirm(client, address, form(address, **posted), typed_count="1").status_code == 303
    assert Recall.objects.get().recaller == Recaller("care-7", {"name": "客服"})
    assert "recaller_overridden" not in AuditEntry.objects.get(action="recall.requested").detail


@pytest.mark.parametrize("address", [NEW, SWEEP, "conversation"])
def test_only_whom_it_is_allowed_has_fields_for_the_recaller(
    client: Client, moderator: Any, lead: Any, private: Any, address: str
) -> None:
    page = private.get_absolute_url() if address == "conversation" else address
    client.force_login(lead)
    assert 'name="recaller_id"' in client.get(page).content.decode()
    client.force_login(moderator)
    assert 'name="recaller_' not in client.get(page).content.decode()
    if address != "conversation":
        assert 'name="recaller_' not in client.post(page, form(page)).content.decode()


@pytest.mark.parametrize("address", [NEW, SWEEP])
def test_a_lead_chooses_another_recaller_and_review_and_log_say_so(client: Client, lead: Any, address: str) -> None:
    client.force_login(lead)
    other = form(address, recaller_id="care-8")
    assert CHANGED in client.post(address, other).content.decode()
    shown = review(client, address, other)
    assert client.post(address, {**shown, "typed_count": "1"}).status_code == 303
    assert Recall.objects.get().recaller == Recaller("care-8")
    assert AuditEntry.objects.get(action="recall.requested").detail["recaller_overridden"] is True


def test_a_lead_who_leaves_it_as_it_is_has_changed_nothing(client: Client, lead: Any) -> None:
    client.force_login(lead)
    assert CHANGED not in client.post(NEW, form(NEW, **CARE)).content.decode()


@pytest.mark.parametrize(("actor", "status"), [("mo", 2), ("lea", 0)])
def test_the_command_asks_the_actors_role_for_another_recaller(connected: Any, actor: str, status: int) -> None:
    out, err = io.StringIO(), io.StringIO()
    arguments = ["--user-a", "user-a", "--user-b", "user-b", "--actor", actor, "--reason", "spam"]
    try:
        call_command("recall", *arguments, "--recaller-id", "CEO", "--dry-run", str(FIRST), stdout=out, stderr=err)
        ended = 0
    except SystemExit as end:
        ended = int(end.code or 0)
    assert ended == status
    assert (REFUSED in err.getvalue()) is (status == 2)
