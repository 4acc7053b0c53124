"""What is posted after the session has ended is kept for the same person, and shown again after signing in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.test.utils import override_script_prefix
from django.urls import reverse

from moderation.accounts import unsent
from moderation.accounts.models import UnsentForm
from recall.models import Recall

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"
NOW = datetime.fromisoformat("2026-01-02T03:04:05+00:00")
STAMPS = ["1700000000000", "1700000000001", "1700000000002"]


def sign_in(client: Client, name: str = "mo", to: str = "/") -> Any:
    return client.post("/accounts/login/", {"username": name, "password": PASSWORD, "next": to})


def end_session(client: Client) -> None:
    """As time does: the browser still has its cookies."""
    client.session.flush()


def form(**fields: Any) -> dict[str, Any]:
    return {
        **{"app": "default", "kind": "private", "user_a": "user-a", "user_b": "user-b"},
        **{"timestamps": STAMPS, "reason": "spam", "note": "See ticket 4711."},
        **fields,
    }


def led_to(answer: Any) -> str:
    """Where the sign-in leads to which `answer` sends."""
    from urllib.parse import parse_qs, urlsplit

    parts = urlsplit(answer["Location"])
    assert parts.path in {"/accounts/login/", "/admin/login/"}
    return parse_qs(parts.query)["next"][0]


def test_a_recall_typed_on_a_conversations_page_is_there_again(
    client: Client, moderator: Any, private: Any, reason: Any, make_message: Any
) -> None:
    for stamp in STAMPS:
        make_message(private, int(stamp))
    sign_in(client)
    end_session(client)
    page = f"http://testserver/conversations/{private.pk}/?at={STAMPS[0]}"
    fields = form(reason=reason.code, csrfmiddlewaretoken="secret")
    answer = client.post(reverse("recall-new"), fields, headers={"referer": page})
    address = led_to(answer)
    assert address.startswith(f"/conversations/{private.pk}/?at={STAMPS[0]}&unsent=")
    assert "4711" not in UnsentForm.objects.get().content
    assert "what you typed is kept" in client.get(answer["Location"]).content.decode()
    assert sign_in(client, to=address)["Location"] == address
    shown = client.get(address)
    text = shown.content.decode()
    assert "What you typed was kept." in text
    assert "See ticket 4711." in text
    assert f'<option value="{reason.code}" selected>' in text
    assert {row.message.timestamp for row in shown.context["rows"] if row.checked} == {int(each) for each in STAMPS}
    # Nothing was sent by itself, and it is shown once.
    assert not Recall.objects.exists()
    assert "4711" not in client.get(address).content.decode()
    assert not UnsentForm.objects.exists()


def test_nobody_else_is_shown_it(client: Client, moderator: Any, lead: Any, private: Any) -> None:
    sign_in(client)
    end_session(client)
    address = led_to(client.post(reverse("recall-new"), form()))
    sign_in(client, lead.get_username())
    assert "4711" not in client.get(address).content.decode()
    assert UnsentForm.objects.exists()


@pytest.mark.parametrize("step", [{}, {"confirm": "1"}, {"edit": "1"}])
def test_a_reviewed_recall_becomes_the_form_again_and_is_not_sent(
    client: Client, moderator: Any, step: dict[str, str]
) -> None:
    sign_in(client)
    end_session(client)
    fields = {**form(**step), "typed_count": "3"}
    address = led_to(client.post(reverse("recall-new"), fields, headers={"referer": "http://testserver/recalls/new/"}))
    sign_in(client)
    text = client.get(address).content.decode()
    assert "See ticket 4711." in text
    assert "\n".join(STAMPS) in text
    assert not Recall.objects.exists()


def test_the_form_of_an_address_without_a_page_is_one_level_up(client: Client, moderator: Any) -> None:
    sign_in(client)
    end_session(client)
    address = led_to(client.post("/recalls/00000000-0000-0000-0000-000000000001/settle/", {"note": "left"}))
    assert address.startswith("/recalls/00000000-0000-0000-0000-000000000001/?unsent=")


@pytest.mark.parametrize(
    ("address", "fields", "shown"),
    [
        ("/sweeps/new/", {"sender": "promo-7731", "note": "a flood"}, "a flood"),
        ("/accounts/preferences/", {"timezone": "Asia/Tokyo"}, 'value="Asia/Tokyo"'),
    ],
)
def test_other_forms_are_filled_in_again(
    client: Client, moderator: Any, private: Any, address: str, fields: dict[str, str], shown: str
) -> None:
    sign_in(client)
    end_session(client)
    page = led_to(client.post(address, fields))
    sign_in(client)
    assert shown in client.get(page).content.decode()


def test_erasing_is_filled_in_again_but_for_the_id_that_confirms_it(
    client: Client, administrator: Any, private: Any, make_message: Any
) -> None:
    make_message(private, int(STAMPS[0]))
    sign_in(client, "ada")
    end_session(client)
    address = "/senders/default/erase/?id=user-a"
    page = led_to(client.post(address, {"reason": "REQ-12", "typed": "user-a"}))
    assert page.startswith("/senders/default/erase/?id=user-a&unsent=")
    sign_in(client, "ada")
    text = client.get(page).content.decode()
    assert 'value="REQ-12"' in text
    assert 'name="typed" value=' not in text


def test_no_secret_is_kept(client: Client, administrator: Any) -> None:
    sign_in(client, "ada")
    end_session(client)
    secrets = {"old_password": "a1", "new_password1": "b1", "password2": "c", "new_appkey": "d", "new_secret_keys": "e"}
    client.post("/accounts/password/", secrets)
    assert not UnsentForm.objects.exists()
    page = led_to(client.post("/admin/applications/application/add/", {**secrets, "name": "Second"}))
    assert "unsent=" in page
    assert unsent.unseal(UnsentForm.objects.get().content) == "name=Second"


def test_nothing_is_kept_of_a_browser_with_which_nobody_signed_in(client: Client, moderator: Any) -> None:
    assert led_to(client.post(reverse("recall-new"), form())) == "/recalls/new/"
    assert not UnsentForm.objects.exists()


def test_unsent_forms_are_bounded_in_size_number_and_time(client: Client, moderator: Any) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        sign_in(client)
        end_session(client)
        client.post(reverse("recall-new"), form(note="x" * unsent.MAX_BYTES))
        assert not UnsentForm.objects.exists()
        pages = [led_to(client.post(reverse("recall-new"), form(note=f"note {number}"))) for number in range(7)]
        assert UnsentForm.objects.count() == unsent.MAX_FORMS
        clock.shift(timedelta(minutes=61))
        sign_in(client)
        assert "note 6" not in client.get(pages[-1]).content.decode()
        end_session(client)
        client.post(reverse("recall-new"), form())
        assert UnsentForm.objects.count() == 1
        clock.shift(timedelta(minutes=61))
        # As the worker does.
        unsent.prune()
        assert not UnsentForm.objects.exists()


@pytest.mark.parametrize("text", ["x", "-1", "9" * 19, "1; DROP"])
def test_a_number_that_names_nothing_shows_the_empty_form(client: Client, moderator: Any, text: str) -> None:
    sign_in(client)
    assert client.get(reverse("recall-new"), {"unsent": text}).status_code == 200


def test_a_console_in_a_folder_keeps_it_as_well(client: Client, moderator: Any) -> None:
    sign_in(client)
    end_session(client)
    page = "http://testserver/console/recalls/new/"
    with override_script_prefix("/console/"):
        answer = client.post("/recalls/new/", form(), headers={"referer": page}, SCRIPT_NAME="/console")
        assert answer["Location"].startswith("/console/accounts/login/?next=%2Fconsole%2Frecalls%2Fnew%2F%3Funsent")
        sign_in(client)
        address = f"/recalls/new/?unsent={UnsentForm.objects.get().pk}"
        assert "See ticket 4711." in client.get(address, SCRIPT_NAME="/console").content.decode()


def test_a_page_of_another_site_is_never_led_to(client: Client, moderator: Any) -> None:
    sign_in(client)
    end_session(client)
    answer = client.post(reverse("recall-new"), form(), headers={"referer": "https://evil.example/x"})
    assert led_to(answer).startswith("/recalls/new/?unsent=")


@pytest.mark.parametrize("name", ["conversation-filter", "conversation-select"])
def test_a_request_of_a_script_is_not_kept(client: Client, moderator: Any, private: Any, name: str) -> None:
    sign_in(client)
    end_session(client)
    answer = client.post(reverse(name, args=[private.pk]), {"q": "spam", "timestamps": STAMPS[0]})
    assert (answer.status_code, UnsentForm.objects.count()) == (302, 0)


def test_signing_in_leads_to_a_page_whatever_address_is_given(client: Client, moderator: Any) -> None:
    for address, page in (
        ("/recalls/00000000-0000-0000-0000-000000000001/retry/", "/recalls/00000000-0000-0000-0000-000000000001/"),
        ("http://testserver/accounts/language/?next=x", "/"),
        ("/no/such/page/", "/"),
        ("/recalls/?state=stopped", "/recalls/?state=stopped"),
        ("https://evil.example/recalls/", "/"),
        ("", "/"),
    ):
        assert sign_in(client, to=address)["Location"] == page
        # Somebody who is signed in already is led on as well.
        assert client.get("/accounts/login/", {"next": address})["Location"] == page
        client.logout()
