"""Django admin's own lists, whatever their address asks."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db

LISTS = ["accounts/user", "accounts/pseudonym", "applications/application", "recall/recallreason"]
KEY_LISTS = [
    *("archive/conversation", "archive/message", "ingestion/unreadablemessage", "ingestion/webhookdelivery"),
    *("audit/auditentry", "recall/recall"),
]


@pytest.fixture
def admin(client: Client, administrator: Any, application: Any) -> Client:
    client.force_login(administrator)
    return client


@pytest.mark.parametrize("text", ["x" * 60_000, "x " * 30_000], ids=["one long word", "many words"])
@pytest.mark.parametrize("name", LISTS)
def test_what_is_too_long_to_be_searched_for_is_refused_with_a_sentence(admin: Client, name: str, text: str) -> None:
    response = admin.get(f"/admin/{name}/", {"q": text})
    assert response.status_code == 200
    assert response.context["cl"].query == ""
    assert "Ensure this value has at most 200 characters" in response.content.decode()


@pytest.mark.parametrize("name", LISTS)
def test_as_much_as_may_be_searched_for_is(admin: Client, name: str) -> None:
    response = admin.get(f"/admin/{name}/", {"q": "! " * 100})
    assert response.status_code == 200
    assert list(response.context["cl"].result_list) == []


@pytest.mark.parametrize("name", KEY_LISTS)
def test_a_list_without_a_search_takes_no_notice_of_one(admin: Client, name: str) -> None:
    assert admin.get(f"/admin/{name}/", {"q": "x" * 60_000}).status_code == 200


def test_a_person_is_found_and_filtered(admin: Client, moderator: Any, lead: Any) -> None:
    def found(**query: Any) -> list[str]:
        return [each.username for each in admin.get("/admin/accounts/user/", query).context["cl"].result_list]

    assert found(q="le") == ["lea"]
    assert found(role__exact="moderator") == ["mo"]
    assert found(role="moderator") == ["mo"]
    assert found(is_active__exact="0") == []


def test_a_pseudonym_is_filtered_by_application(admin: Client, moderator: Any, application: Any) -> None:
    moderator.pseudonym_set.create(application=application, recaller_id="support")
    # Of one alone there is nothing to choose.
    type(application).objects.create(slug="second", name="Second")
    page = admin.get("/admin/accounts/pseudonym/")
    links = [choice["query_string"] for choice in page.context["cl"].filter_specs[0].choices(page.context["cl"])]
    assert len(links) == 3
    assert {admin.get(f"/admin/accounts/pseudonym/{link}").status_code for link in links} == {200}
    page = admin.get("/admin/accounts/pseudonym/", {"application__id__exact": application.pk})
    assert [each.recaller_id for each in page.context["cl"].result_list] == ["support"]


@pytest.mark.parametrize(
    "query",
    [
        "accounts/user/?date_joined__gte=0001-01-01T00:00:00%2B14:00",
        "accounts/user/?last_login__year=99999999999999999999",
        "accounts/user/?password__startswith=x",
        "applications/application/?appkey_sealed__startswith=x",
    ],
)
def test_no_other_field_can_be_asked_for(admin: Client, query: str) -> None:
    assert admin.get(f"/admin/{query}").status_code == 400
