"""Django admin lists with any query string."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.admin.utils import flatten_fieldsets, label_for_field
from django.test import Client, RequestFactory
from django.utils.functional import Promise

from moderation.audit.models import AuditEntry

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
def test_a_search_that_is_too_long_is_refused(admin: Client, name: str, text: str) -> None:
    response = admin.get(f"/admin/{name}/", {"q": text})
    assert response.status_code == 200
    assert response.context["cl"].query == ""
    assert "Ensure this value has at most 200 characters" in response.content.decode()


@pytest.mark.parametrize("name", LISTS)
def test_a_search_of_the_maximum_length_works(admin: Client, name: str) -> None:
    response = admin.get(f"/admin/{name}/", {"q": "! " * 100})
    assert response.status_code == 200
    assert list(response.context["cl"].result_list) == []


@pytest.mark.parametrize("name", KEY_LISTS)
def test_a_list_without_a_search_ignores_one(admin: Client, name: str) -> None:
    assert admin.get(f"/admin/{name}/", {"q": "x" * 60_000}).status_code == 200


def test_accounts_can_be_searched_and_filtered(admin: Client, moderator: Any, lead: Any) -> None:
    def usernames(**query: Any) -> list[str]:
        return [each.username for each in admin.get("/admin/accounts/user/", query).context["cl"].result_list]

    assert usernames(q="le") == ["lea"]
    assert usernames(role__exact="moderator") == ["mo"]
    assert usernames(role="moderator") == ["mo"]
    assert usernames(is_active__exact="0") == []


def test_pseudonyms_can_be_filtered_by_application(admin: Client, moderator: Any, application: Any) -> None:
    moderator.pseudonym_set.create(application=application, recaller_id="support")
    # The filter needs more than one choice.
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
def test_look_ups_on_other_fields_are_refused(admin: Client, query: str) -> None:
    assert admin.get(f"/admin/{query}").status_code == 400


# Names that are the same in every language.
UNTRANSLATED = {"id", "sha256"}


def labels(model_admin: Any, request: Any) -> dict[str, Any]:
    """The label of each column of an admin's list and of each field of its page, by name."""
    form = model_admin.get_form(request).base_fields
    # The page of an entry of the audit log is a template of its own.
    page = [] if model_admin.model is AuditEntry else flatten_fieldsets(model_admin.get_fieldsets(request))
    return {
        name: form[name].label if name in form else label_for_field(name, model_admin.model, model_admin)
        for name in {*model_admin.list_display, *page, *model_admin.readonly_fields} - UNTRANSLATED
    }


def test_every_column_and_field_of_admin_has_a_label_that_can_be_translated(
    administrator: Any, application: Any, rf: RequestFactory
) -> None:
    request = rf.get("/")
    request.user = administrator
    plain = [
        f"{model.__name__}.{name}: {label}"
        for model, model_admin in site._registry.items()
        for name, label in labels(model_admin, request).items()
        if not isinstance(label, Promise)
    ]
    assert plain == []


def test_codes_are_shown_by_their_meaning(admin: Client, private: Any) -> None:
    private.history_problem = "read_timeout"
    private.save()
    page = admin.get(f"/admin/archive/conversation/{private.pk}/change/").content.decode()
    assert "GoEasy did not answer in time." in page
    assert "read_timeout" not in page
