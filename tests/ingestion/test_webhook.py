"""GoEasy's webhook: signed deliveries are acknowledged and read, unsigned ones are refused."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from moderation.applications.models import Application
from moderation.archive import rows
from moderation.archive.models import Conversation, Message
from moderation.goeasy.client import Group, Private
from moderation.goeasy.sandbox import Sandbox
from moderation.goeasy.signing import sign
from moderation.ingestion import deliveries
from moderation.ingestion.models import PROBLEMS, WebhookDelivery
from tests.ingestion.signed import AT, FORM, SECRET, URL, as_text, counted, deliver, is_acknowledged, message_data

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def secret(application: Any, settings: Any) -> None:
    settings.GOEASY_SECRET_KEYS = [SECRET]


def test_a_signed_message_is_acknowledged_kept_and_in_the_archive(client: Client) -> None:
    content = as_text([message_data()])
    assert is_acknowledged(deliver(client, content))
    delivery = WebhookDelivery.objects.get()
    assert bytes(delivery.content) == content.encode()
    assert (delivery.state, delivery.problem) == ("done", "")
    message = Message.objects.get()
    assert message.raw == content[1:-1]
    assert (
        message.conversation
        == Conversation.objects.named(message.conversation.application, Private("user-b", "user-a")).get()
    )
    assert message.conversation.last_timestamp == AT


@pytest.mark.parametrize(
    "content", [as_text(message_data()), as_text([message_data(1), message_data(2, receiverId="", groupId="g")])]
)
def test_one_message_comes_alone_or_several_in_an_array(client: Client, content: str) -> None:
    assert is_acknowledged(deliver(client, content))
    assert Message.objects.count() == content.count("messageId")


@pytest.mark.parametrize(
    "content",
    [
        {"content": [message_data()]},
        {"type": "im", "messages": [message_data(), message_data(1)]},
        {"event": "message", "data": as_text(message_data())},
        as_text(as_text([message_data()])),
        {"channel": "x", "content": {"message": message_data()}, "note": "[not json"},
    ],
    ids=["array in content", "messages", "text in data", "text", "object in object"],
)
def test_messages_are_extracted_from_any_envelope(client: Client, content: Any) -> None:
    text = content if isinstance(content, str) else as_text(content)
    assert is_acknowledged(deliver(client, text))
    assert Message.objects.get(message_id="m-0").conversation.ids == "user-a ↔ user-b"
    assert WebhookDelivery.objects.get().state == "done"


def test_a_receiver_in_the_form_of_a_send_is_read(client: Client, application: Any) -> None:
    message = message_data(
        to={"type": "group", "id": "g-1", "data": {"name": "读书会", "avatar": "/g.png"}}, senderData={"name": "阿明"}
    )
    del message["receiverId"]
    assert is_acknowledged(deliver(client, as_text(message)))
    group = Conversation.objects.named(application, Group("g-1")).get()
    assert (group.name, group.avatar) == ("读书会", "/g.png")
    assert application.sender_set.get().name == "阿明"


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "text/plain", ""])
def test_a_json_body_is_as_good_as_a_form(client: Client, content_type: str) -> None:
    content = as_text(message_data())
    response = client.generic(
        "POST",
        URL,
        json.dumps({"content": content}),
        content_type,
        headers={"x-goeasy-signature": sign(SECRET, content)},
    )
    assert is_acknowledged(response)
    assert bytes(WebhookDelivery.objects.get().content) == content.encode()


@pytest.mark.parametrize("content_type", [FORM, f"{FORM}; charset=UTF-8", ""])
def test_a_form_is_read_to_the_byte_whatever_its_type_is_called(client: Client, content_type: str) -> None:
    content = as_text(message_data())
    body = b"a=1&content=" + urllib.parse.quote_plus(content).encode()
    response = client.generic("POST", URL, body, content_type, headers={"x-goeasy-signature": sign(SECRET, content)})
    assert is_acknowledged(response)
    assert Message.objects.get().raw == content


def test_a_form_in_parts_is_read_too(client: Client) -> None:
    content = as_text(message_data())
    response = client.post(URL, {"content": content}, headers={"x-goeasy-signature": sign(SECRET, content)})
    assert is_acknowledged(response)
    assert Message.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not_json"),
        (b"hello", "not_json"),
        (b"[1", "not_json"),
        (b'{"a":1}', "no_message"),
        (b"null", "no_message"),
        (b'[{"timestamp":1700000000000,"senderId":"u"}]', "no_conversation"),
        (b'{"timestamp":"soon","senderId":"u","receiverId":"v"}', "no_message"),
        (b"\xff\xfe\x00", "not_utf8"),
        ("乱码".encode("gbk"), "not_utf8"),
        (b'{"a":"\x00"}', "not_json"),
        (b"[" * 50_000, "not_json"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "no_message"),
    ],
)
def test_a_signed_unreadable_delivery_is_acknowledged_and_kept_with_the_reason(
    client: Client, content: bytes, problem: str
) -> None:
    assert is_acknowledged(deliver(client, content))
    delivery = WebhookDelivery.objects.get()
    assert (bytes(delivery.content), delivery.state, delivery.problem) == (content, "unread", problem)
    assert Message.objects.count() == 0
    assert counted() == {"unread": 1}
    assert problem in PROBLEMS


def test_readable_elements_of_an_array_are_read_and_the_others_reported(client: Client) -> None:
    assert is_acknowledged(deliver(client, as_text([message_data(), 7, message_data(1)])))
    assert Message.objects.count() == 2
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.problem, delivery.detail) == ("unread", "no_message", "1 / 3")


def test_an_array_of_nothing_is_no_problem(client: Client) -> None:
    assert is_acknowledged(deliver(client, "[]"))
    assert WebhookDelivery.objects.get().state == "done"


def test_a_type_that_nobody_knows_is_kept_whole(client: Client) -> None:
    content = as_text(message_data(type="red-packet", payload={"amount": 8.88, "greeting": "恭喜"}, extra=[1, None]))
    deliver(client, content)
    assert (Message.objects.get().raw, Message.objects.get().type) == (content, "red-packet")


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ({"x-goeasy-signature": ""}, "unsigned"),
        ({"x-goeasy-signature": sign("another", as_text(message_data()))}, "wrong_signature"),
        ({"x-goeasy-signature": sign(SECRET, as_text(message_data())).lower()}, "wrong_signature"),
        ({"x-goeasy-signature": "签名"}, "wrong_signature"),
        ({"x-goeasy-signature": sign(SECRET, "")}, "wrong_signature"),
    ],
)
def test_an_unsigned_delivery_is_refused_and_only_counted(client: Client, headers: dict[str, str], what: str) -> None:
    for _time in range(2):
        assert deliver(client, as_text(message_data()), **headers).status_code == 401
    assert counted() == {what: 2}
    assert not WebhookDelivery.objects.exists()
    assert not Message.objects.exists()


def test_not_one_bit_of_content_or_signature_may_differ(client: Client) -> None:
    content = as_text(message_data()).encode()
    signature = sign(SECRET, content).encode()
    for at in range(0, len(content) * 8, 13):
        changed = bytearray(content)
        changed[at // 8] ^= 1 << at % 8
        response = client.post(
            URL,
            urllib.parse.urlencode({"content": bytes(changed)}),
            content_type=FORM,
            headers={"x-goeasy-signature": signature.decode()},
        )
        assert response.status_code == 401
    for at in range(len(signature) * 7):
        flipped = bytearray(signature)
        flipped[at // 7] ^= 1 << at % 7
        if not flipped.isspace() and flipped.strip() != signature:
            assert deliver(client, content, **{"x-goeasy-signature": flipped.decode()}).status_code == 401
    assert not WebhookDelivery.objects.exists()


def test_no_delivery_is_accepted_without_a_secret(client: Client, settings: Any) -> None:
    settings.GOEASY_SECRET_KEYS = []
    assert deliver(client, as_text(message_data()), secret="").status_code == 401
    assert counted() == {"no_secret": 1}


def test_two_secrets_are_valid_while_they_change(client: Client, settings: Any) -> None:
    settings.GOEASY_SECRET_KEYS = ["new", SECRET]
    assert is_acknowledged(deliver(client, as_text(message_data(1)), secret="new"))
    assert is_acknowledged(deliver(client, as_text(message_data(2))))
    assert deliver(client, as_text(message_data(3)), secret="old").status_code == 401


def test_a_secret_is_valid_at_once_and_one_that_is_gone_soon_is_not(client: Client) -> None:
    other = Application.objects.create(slug="other", name="Other", rest_host_saved="hangzhou")
    for secret in ("first", "second"):
        other.set_secret_keys(secret)
        other.save()
        answer = deliver(client, as_text(message_data(len(secret))), secret=secret, url="/webhooks/goeasy/other/")
        assert is_acknowledged(answer)
    rows.clear_caches()
    assert deliver(client, as_text(message_data(9)), secret="first", url="/webhooks/goeasy/other/").status_code == 401


def test_cached_rows_expire() -> None:
    known: rows.TTLCache[str, int] = rows.TTLCache(seconds=60)
    known.put("one", 1)
    assert (known.get("one"), known.get("other")) == (1, None)
    brief: rows.TTLCache[str, int] = rows.TTLCache(seconds=0)
    brief.put("one", 1)
    assert brief.get("one") is None


@pytest.mark.django_db(transaction=True)
def test_a_conversation_that_is_not_where_it_was_is_looked_for_again(client: Client) -> None:
    # As after a restore under a running process.
    for number in (1, 2):
        assert is_acknowledged(deliver(client, as_text(message_data(number))))
    gone = Conversation.objects.get()
    Message.objects.all().delete()
    gone.delete()
    for number in (3, 4):
        assert is_acknowledged(deliver(client, as_text(message_data(number))))
    deliveries.process(WebhookDelivery.objects.get(problem="failed"))
    assert Message.objects.filter(conversation=Conversation.objects.get()).count() == 2


def test_each_application_has_its_own_secret(client: Client) -> None:
    second = Application(slug="second", name="Second")
    second.set_secret_keys("theirs")
    second.save()
    content = as_text(message_data())
    assert deliver(client, content, url="/webhooks/goeasy/second/").status_code == 401
    assert is_acknowledged(deliver(client, content, secret="theirs", url="/webhooks/goeasy/second/"))
    assert Message.objects.get().conversation.application == second


def test_an_unknown_application_returns_404(client: Client) -> None:
    assert deliver(client, as_text(message_data()), url="/webhooks/goeasy/nobody/").status_code == 404


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.integers() | st.text() | st.floats() | st.just(message_data()),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_whatever_is_signed_is_read_or_said_to_be_unreadable(content: bytes) -> None:
    read = deliveries.read_content(content)
    assert read.problem == "" or read.problem in PROBLEMS
    assert len(read.messages) <= content.count(b"timestamp")


def test_host_language_and_cookies_of_a_request_do_not_matter(administrator: Any, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    client = Client(enforce_csrf_checks=True)
    client.force_login(administrator)
    response = deliver(client, as_text(message_data()), host="elsewhere.example.com", **{"accept-language": "zh-CN"})
    assert is_acknowledged(response)
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Content-Length"] == "32"
    assert not response.cookies
    assert {"Vary", "Content-Language", "Location"}.isdisjoint(response.headers)
    # GoEasy follows no redirect.
    assert is_acknowledged(deliver(client, as_text(message_data(1)), url=URL.rstrip("/")))
    assert client.get(URL).status_code == 405


@pytest.mark.django_db(transaction=True)
def test_messages_that_clients_send_through_goeasy_arrive_by_themselves(live_server: Any, tmp_path: Any) -> None:
    with Sandbox(data=tmp_path / "s.sqlite3", secret_key=SECRET, webhook_url=f"{live_server.url}{URL}") as sandbox:
        for number in range(3):
            call = {
                "appkey": sandbox.appkey,
                "senderId": "user-a",
                "to": {"type": "group", "id": "g"},
                "type": "text",
                "payload": {"text": f"第 {number} 条"},
            }
            request = urllib.request.Request(
                f"{sandbox.url}/v2/im/message", json.dumps(call).encode(), {"Content-Type": "application/json"}
            )
            urllib.request.urlopen(request, timeout=5).close()
        assert sandbox.webhook
        sandbox.webhook.close()
        assert sandbox.webhook.is_on
        assert Message.objects.filter(conversation__group_id="g").count() == 3
    connection.close()
