"""Applications in Django admin: keys go in and never come out."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from moderation.applications.models import Application
from moderation.audit.models import AuditEntry
from tests.recall.reviewing import hidden_fields

pytestmark = pytest.mark.django_db

APPKEY = "BC-0123456789abcdef"
SECRETS = "0123456789abcdef,fedcba9876543210"


@pytest.fixture
def admin(client: Client, administrator: Any) -> Client:
    client.force_login(administrator)
    return client


@pytest.fixture
def second(db: None) -> Application:
    """An application that is not configured in the environment."""
    application = Application(slug="second", name="Second")
    application.set_appkey(APPKEY)
    application.set_secret_keys(SECRETS)
    application.save()
    return application


def address(application: Application) -> str:
    return reverse("admin:applications_application_change", args=[application.pk])


def form(**fields: str) -> dict[str, str]:
    return {
        "name": "Second",
        "slug": "second",
        "rest_host_saved": "hangzhou",
        "new_appkey": "",
        "new_secret_keys": "",
        "recaller_id": "",
        "recaller_data": "",
        **fields,
    }


def test_an_application_is_added_with_its_keys_encrypted(admin: Client) -> None:
    response = admin.post(
        reverse("admin:applications_application_add"), form(new_appkey=f"  {APPKEY} ", new_secret_keys=SECRETS)
    )
    assert response.status_code == 302
    added = Application.objects.get(slug="second")
    assert added.appkey() == APPKEY
    assert added.secret_keys() == SECRETS.split(",")
    assert APPKEY not in added.appkey_sealed


def test_a_key_is_never_rendered(admin: Client, second: Application) -> None:
    pages = [admin.get(address(second)), admin.get(reverse("admin:applications_application_changelist"))]
    # The same when the form is shown again with an error of another field.
    pages.append(admin.post(address(second), form(name="", new_appkey=APPKEY, new_secret_keys=SECRETS)))
    for page in pages:
        assert page.status_code == 200
        for secret in (APPKEY, "cdef", *SECRETS.split(","), second.appkey_sealed, second.secret_keys_sealed):
            assert secret not in page.content.decode()
    assert "One is kept" in pages[0].content.decode()
    assert 'type="password" name="new_appkey"' in pages[0].content.decode()


def test_an_empty_field_keeps_the_key(admin: Client, second: Application) -> None:
    assert admin.post(address(second), form(name="Renamed")).status_code == 302
    second.refresh_from_db()
    assert second.name == "Renamed"
    assert second.appkey() == APPKEY
    assert second.secret_keys() == SECRETS.split(",")


def test_another_host_asks_for_the_key_again(admin: Client, second: Application) -> None:
    page = admin.post(address(second), form(rest_host_saved="singapore"))
    assert page.status_code == 200
    assert "enter the key again" in page.content.decode()
    second.refresh_from_db()
    assert (second.rest_host_saved, second.appkey()) == ("hangzhou", APPKEY)
    typed = form(rest_host_saved="singapore", new_appkey="BC-fedcba9876543210")
    assert admin.post(address(second), typed).status_code == 302
    second.refresh_from_db()
    assert (second.rest_host_saved, second.appkey()) == ("singapore", "BC-fedcba9876543210")


def test_the_same_address_written_otherwise_keeps_the_key(admin: Client, second: Application) -> None:
    assert admin.post(address(second), form(rest_host_saved="https://REST-hz.goeasy.io/")).status_code == 302
    second.refresh_from_db()
    assert second.appkey() == APPKEY


def test_a_key_is_dropped_when_anything_else_changes_the_host(second: Application) -> None:
    second.rest_host_saved = "singapore"
    second.save(update_fields=["rest_host_saved"])
    second.refresh_from_db()
    assert second.appkey() == ""
    # The secret key stays, as it verifies deliveries and is never sent.
    assert second.secret_keys() == SECRETS.split(",")
    entry = AuditEntry.objects.filter(action="application.changed").latest("pk")
    assert entry.detail["changes"]["appkey_sealed"] == "removed"


@pytest.mark.parametrize(
    "host",
    [
        *("http://rest-hz.goeasy.io", "https://evil.example", "evil-goeasy.io", "https://goeasy.io.evil.example"),
        *("https://169.254.169.254", "https://10.0.0.1", "http://10.0.0.1:8001", "https://[::ffff:127.0.0.1]"),
    ],
)
def test_a_host_that_is_not_listed_is_refused_even_with_a_key(admin: Client, second: Application, host: str) -> None:
    page = admin.post(address(second), form(rest_host_saved=host, new_appkey=APPKEY))
    assert page.status_code == 200
    text = html.unescape(page.content.decode())
    assert "is not among GOEASY_ALLOWED_HOSTS" in text or "https alone" in text
    second.refresh_from_db()
    assert second.rest_host_saved == "hangzhou"


def test_a_new_key_replaces_the_old_one_and_only_its_field_is_logged(admin: Client, second: Application) -> None:
    admin.post(address(second), form(new_appkey="BC-fedcba9876543210"))
    second.refresh_from_db()
    assert second.appkey() == "BC-fedcba9876543210"
    message = LogEntry.objects.get().change_message
    assert "fedcba" not in message
    assert "New key" in message


def test_a_key_that_a_new_secret_key_cannot_decrypt_must_be_entered_again(
    admin: Client, second: Application, settings: Any
) -> None:
    page = address(second)
    assert "does not open it" not in admin.get(page).content.decode()
    Application.objects.filter(pk=second.pk).update(appkey_sealed="gAAAAABnothing")
    assert "does not open it" in admin.get(page).content.decode()


def test_a_subscribe_only_key_is_kept_with_a_warning(admin: Client, second: Application) -> None:
    page = admin.post(address(second), form(new_appkey="BS-0123456789abcdef"), follow=True).content.decode()
    assert "can only subscribe" in page
    second.refresh_from_db()
    assert second.appkey() == "BS-0123456789abcdef"


def test_a_common_key_is_kept_without_a_warning(admin: Client, second: Application) -> None:
    page = admin.post(address(second), form(new_appkey=APPKEY), follow=True).content.decode()
    assert "can only subscribe" not in page


@pytest.mark.parametrize("key", ["BC-01234 56789", "BC-密钥", "BC-\x00"])
def test_a_key_that_was_not_copied_whole_is_refused(admin: Client, second: Application, key: str) -> None:
    response = admin.post(address(second), form(new_appkey=key))
    assert response.status_code == 200
    assert "new_appkey" in response.context["adminform"].form.errors
    second.refresh_from_db()
    assert second.appkey() == APPKEY


def test_settings_from_the_environment_are_shown_and_cannot_be_changed(
    admin: Client, application: Application, settings: Any
) -> None:
    settings.GOEASY_SECRET_KEYS = ["0123456789abcdef"]
    page = admin.get(address(application)).content.decode()
    assert "The environment configures this application" in page
    assert "http://127.0.0.1:9" in page
    assert APPKEY not in page
    assert "0123456789abcdef" not in page
    assert "new_appkey" not in page
    assert "rest_host_saved" not in page
    before = Application.objects.values().get(pk=application.pk)
    admin.post(address(application), form(new_appkey="BC-evil", new_secret_keys="x", slug="other"))
    after = Application.objects.values().get(pk=application.pk)
    for name in ("slug", "rest_host_saved", "appkey_sealed", "secret_keys_sealed"):
        assert after[name] == before[name]


def test_the_default_application_can_be_changed_while_the_environment_has_no_key(admin: Client, settings: Any) -> None:
    settings.GOEASY_APPKEY = ""
    # A test with real transactions may have emptied the table.
    default = Application.objects.get_or_create(slug="default", defaults={"name": "GoEasy"})[0]
    assert "The environment configures this application" not in admin.get(address(default)).content.decode()
    admin.post(address(default), form(new_appkey=APPKEY))
    default.refresh_from_db()
    assert default.appkey() == APPKEY
    assert default.slug == "default"


def test_an_application_that_is_needed_cannot_be_deleted(admin: Client, application: Application, group: Any) -> None:
    from moderation.archive.models import Conversation

    used = Application.objects.create(slug="used", name="Used")
    Conversation.objects.create(application=used, kind="group", group_id="group-1")
    free = Application.objects.create(slug="free", name="Free")
    for kept in (application, used):
        url = reverse("admin:applications_application_delete", args=[kept.pk])
        assert admin.post(url, {"post": "yes"}).status_code == 403
    url = reverse("admin:applications_application_delete", args=[free.pk])
    assert admin.post(url, {"post": "yes"}).status_code == 302
    assert set(Application.objects.values_list("slug", flat=True)) == {"default", "used"}


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[1, 2]",
        '"text"',
        "7",
        "NaN",
        '{"a": NaN}',
        '{"a": "\\u0000"}',
        '{"a": "\\ud800"}',
        "[" * 5000,
        json.dumps({"name": "客" * 700}, ensure_ascii=False),
    ],
)
def test_recaller_data_is_an_object_of_at_most_2_kb(admin: Client, second: Application, text: str) -> None:
    response = admin.post(address(second), form(recaller_data=text))
    assert response.status_code == 200
    assert "recaller_data" in response.context["adminform"].form.errors
    second.refresh_from_db()
    assert second.recaller_data is None


def test_recaller_data_stays_readable(admin: Client, second: Application) -> None:
    assert admin.post(address(second), form(recaller_data='{"name": "客服"}')).status_code == 302
    second.refresh_from_db()
    assert second.recaller_data == {"name": "客服"}
    assert "客服" in admin.get(address(second)).content.decode()
    admin.post(address(second), form(recaller_data=""))
    second.refresh_from_db()
    assert second.recaller_data is None
    assert not re.search(r"<textarea[^>]*>\s*null", admin.get(address(second)).content.decode())


def test_the_wait_before_a_verification_is_set_and_recorded(admin: Client, second: Application) -> None:
    assert admin.post(address(second), form(verify_after_seconds="25")).status_code == 302
    second.refresh_from_db()
    assert second.verify_after == 25
    entry = AuditEntry.objects.filter(action="application.changed").latest("pk")
    assert entry.detail["changes"]["verify_after_seconds"] == {"from": None, "to": 25}
    assert admin.post(address(second), form(verify_after_seconds="3601")).status_code == 200


def test_hosts_of_attachments_are_origins_and_a_change_of_them_is_recorded(admin: Client, second: Application) -> None:
    typed = "https://Files.Example.com/\n https://10.0.0.1:8443, https://cdn.example.com:443 https://files.example.com"
    assert admin.post(address(second), form(media_origins=typed)).status_code == 302
    second.refresh_from_db()
    wanted = ["https://files.example.com", "https://10.0.0.1:8443", "https://cdn.example.com"]
    assert second.allowed_media_origins == wanted
    entry = AuditEntry.objects.filter(action="application.changed").latest("pk")
    assert "https://cdn.example.com" in json.dumps(entry.detail)


@pytest.mark.parametrize(
    "origin",
    [
        "files.example.com",
        "http://files.example.com",
        "https://files.example.com/photos",
        "https://*.example.com",
        "https://a@files.example.com",
        "https://files.example.com:port",
        "https://files.example.com;script-src",
        "https://文件.example.com",
        "https:",
        "'unsafe-inline'",
    ],
)
def test_an_invalid_origin_is_named_in_the_error(admin: Client, second: Application, origin: str) -> None:
    page = admin.post(address(second), form(media_origins=f"https://good.example.com {origin}"))
    assert f"“{origin}” is not an origin." in html.unescape(page.content.decode())
    second.refresh_from_db()
    assert second.media_origins == ""


def test_an_auditor_reads_and_cannot_write(client: Client, auditor: Any, second: Application) -> None:
    client.force_login(auditor)
    page = client.get(address(second)).content.decode()
    assert "One is kept" in page
    assert "new_appkey" not in page
    assert client.post(address(second), form(new_appkey="BC-evil")).status_code == 403


def test_a_form_is_shown_again_after_a_concurrent_change(admin: Client, second: Application) -> None:
    address = reverse("admin:applications_application_change", args=[second.pk])
    shown = hidden_fields(admin.get(address).content.decode(), 'id="application_form"')["shown"]
    Application.objects.filter(pk=second.pk).update(keep_days=400, name="Renamed")
    data = {"name": "Second", "rest_host_saved": "hangzhou", "keep_days": "30", "history_days": "", "shown": shown}
    answer = admin.post(address, data)
    page = answer.content.decode()
    assert "Somebody changed this since you opened the page" in page
    assert "(400)" in page
    second.refresh_from_db()
    assert second.keep_days == 400
    again = hidden_fields(page, 'id="application_form"')["shown"]
    assert admin.post(address, {**data, "shown": again}).status_code == 302
    second.refresh_from_db()
    assert second.keep_days == 30


def test_name_and_avatar_of_the_recaller_are_fields_of_their_own(admin: Client, second: Application) -> None:
    typed = form(recaller_name="客服", recaller_avatar="https://example.com/a.png")
    assert admin.post(address(second), typed).status_code == 302
    second.refresh_from_db()
    assert second.recaller_data == {"name": "客服", "avatar": "https://example.com/a.png"}
    page = admin.get(address(second)).content.decode()
    assert 'name="recaller_name" value="客服"' in page


def test_a_field_of_the_recaller_leaves_the_rest_of_its_data(admin: Client, second: Application) -> None:
    stored = {"name": "Care", "avatar": 7, "level": {"a": [1]}}
    Application.objects.filter(pk=second.pk).update(recaller_data=stored)
    as_shown = json.dumps(stored)
    typed = form(recaller_name="Support", recaller_avatar="", recaller_data=as_shown)
    assert admin.post(address(second), typed).status_code == 302
    second.refresh_from_db()
    assert second.recaller_data == {**stored, "name": "Support"}
    typed = form(recaller_name="", recaller_avatar="", recaller_data=json.dumps(second.recaller_data))
    assert admin.post(address(second), typed).status_code == 302
    second.refresh_from_db()
    assert second.recaller_data == {"avatar": 7, "level": {"a": [1]}}


def test_what_only_the_data_changes_is_saved_and_what_both_change_differently_is_refused(
    admin: Client, second: Application
) -> None:
    Application.objects.filter(pk=second.pk).update(recaller_data={"name": "Care"})
    typed = form(recaller_name="Care", recaller_avatar="", recaller_data='{"name": "Desk"}')
    assert admin.post(address(second), typed).status_code == 302
    second.refresh_from_db()
    assert second.recaller_data == {"name": "Desk"}
    page = admin.post(address(second), form(recaller_name="One", recaller_avatar="", recaller_data='{"name": "Two"}'))
    assert page.status_code == 200
    assert "recaller_name" in page.context["adminform"].form.errors
    second.refresh_from_db()
    assert second.recaller_data == {"name": "Desk"}


def test_name_and_data_together_keep_to_the_size_that_goeasy_takes(admin: Client, second: Application) -> None:
    typed = form(recaller_name="客" * 200, recaller_avatar="x" * 1_000, recaller_data=json.dumps({"x": "y" * 900}))
    page = admin.post(address(second), typed)
    assert page.status_code == 200
    assert "recaller_data" in page.context["adminform"].form.errors


def test_the_page_shows_the_webhooks_address_and_when_it_last_brought_something(
    admin: Client, second: Application
) -> None:
    page = admin.get(address(second)).content.decode()
    assert "http://testserver/webhooks/goeasy/second/" in page
    assert "Nothing has been delivered yet." in page
    second.webhookdelivery_set.create(received_at="2026-01-02T03:04:05Z", content=b"{}", sha256="0" * 64, state="done")
    page = admin.get(address(second)).content.decode()
    assert "2026-01-02 03:04:05.000" in page
    assert "Nothing has been delivered yet." not in page


def test_whoever_only_reads_sees_no_button_to_test_the_connection(
    client: Client, auditor: Any, administrator: Any, second: Application
) -> None:
    client.force_login(auditor)
    assert "Test connection" not in client.get(address(second)).content.decode()
    client.force_login(administrator)
    assert "Test connection" in client.get(address(second)).content.decode()
