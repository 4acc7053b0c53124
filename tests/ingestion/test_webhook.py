"""GoEasy's webhook: what is acknowledged is kept, what is not signed is not, and nothing signed is refused."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import urllib.parse
import urllib.request
from typing import Any

import pytest
from django.db import Error, connection
from django.test import Client
from django.test.client import FakePayload
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from moderation.applications.models import Application
from moderation.archive import rows
from moderation.archive.models import Conversation, Message
from moderation.goeasy.client import Group, Private
from moderation.goeasy.sandbox import Sandbox
from moderation.goeasy.signing import sign
from moderation.ingestion import deliveries, webhooks
from moderation.ingestion.models import PROBLEMS, FeedCount, WebhookDelivery

pytestmark = pytest.mark.django_db

SECRET = "0123456789abcdef"
URL = "/webhooks/goeasy/default/"
FORM = "application/x-www-form-urlencoded"
AT = 1_700_000_000_000


@pytest.fixture(autouse=True)
def secret(application: Any, settings: Any) -> None:
    settings.GOEASY_SECRET_KEYS = [SECRET]


def told(number: int = 0, **fields: Any) -> dict[str, Any]:
    """A private message as GoEasy tells it."""
    return {
        "type": "text",
        "messageId": f"m-{number}",
        "timestamp": AT + number,
        "senderId": "user-a",
        "receiverId": "user-b",
        "payload": {"text": "你好 + & = %2B “quoted”"},
        **fields,
    }


def as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def deliver(client: Client, content: str | bytes, *, secret: str = SECRET, url: str = URL, **headers: str) -> Any:
    """Deliver as the documentation says: a form with a signed `content`."""
    body = urllib.parse.urlencode({"content": content})
    headers = {"x-goeasy-signature": sign(secret, content), **headers}
    return client.post(url, body, content_type=FORM, headers=headers)


def is_acknowledged(response: Any) -> bool:
    return response.status_code == 200 and response.content == b'{"code":200,"content":"success"}'


def counted() -> dict[str, int]:
    return dict(FeedCount.objects.values_list("what", "number"))


def test_a_signed_message_is_acknowledged_kept_and_in_the_archive(client: Client) -> None:
    content = as_text([told()])
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


@pytest.mark.parametrize("content", [as_text(told()), as_text([told(1), told(2, receiverId="", groupId="g")])])
def test_one_message_comes_alone_or_several_in_an_array(client: Client, content: str) -> None:
    assert is_acknowledged(deliver(client, content))
    assert Message.objects.count() == content.count("messageId")


@pytest.mark.parametrize(
    "content",
    [
        {"content": [told()]},
        {"type": "im", "messages": [told(), told(1)]},
        {"event": "message", "data": as_text(told())},
        as_text(as_text([told()])),
        {"channel": "x", "content": {"message": told()}, "note": "[not json"},
    ],
    ids=["array in content", "messages", "text in data", "text", "object in object"],
)
def test_messages_are_found_in_what_surrounds_them(client: Client, content: Any) -> None:
    text = content if isinstance(content, str) else as_text(content)
    assert is_acknowledged(deliver(client, text))
    assert Message.objects.get(message_id="m-0").conversation.ids == "user-a ↔ user-b"
    assert WebhookDelivery.objects.get().state == "done"


def test_a_receiver_may_be_told_as_a_send_tells_it(client: Client, application: Any) -> None:
    message = told(
        to={"type": "group", "id": "g-1", "data": {"name": "读书会", "avatar": "/g.png"}}, senderData={"name": "阿明"}
    )
    del message["receiverId"]
    assert is_acknowledged(deliver(client, as_text(message)))
    group = Conversation.objects.named(application, Group("g-1")).get()
    assert (group.name, group.avatar) == ("读书会", "/g.png")
    assert application.sender_set.get().name == "阿明"


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "text/plain", ""])
def test_a_json_body_is_as_good_as_a_form(client: Client, content_type: str) -> None:
    content = as_text(told())
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
    content = as_text(told())
    body = b"a=1&content=" + urllib.parse.quote_plus(content).encode()
    response = client.generic("POST", URL, body, content_type, headers={"x-goeasy-signature": sign(SECRET, content)})
    assert is_acknowledged(response)
    assert Message.objects.get().raw == content


def test_a_form_in_parts_is_read_too(client: Client) -> None:
    content = as_text(told())
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
def test_what_is_signed_and_cannot_be_read_is_kept_acknowledged_and_says_why(
    client: Client, content: bytes, problem: str
) -> None:
    assert is_acknowledged(deliver(client, content))
    delivery = WebhookDelivery.objects.get()
    assert (bytes(delivery.content), delivery.state, delivery.problem) == (content, "unread", problem)
    assert Message.objects.count() == 0
    assert counted() == {"unread": 1}
    assert problem in PROBLEMS


def test_what_can_be_read_of_an_array_is_and_the_rest_is_said(client: Client) -> None:
    assert is_acknowledged(deliver(client, as_text([told(), 7, told(1)])))
    assert Message.objects.count() == 2
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.problem, delivery.detail) == ("unread", "no_message", "1 / 3")


def test_an_array_of_nothing_is_no_problem(client: Client) -> None:
    assert is_acknowledged(deliver(client, "[]"))
    assert WebhookDelivery.objects.get().state == "done"


def test_a_type_that_nobody_knows_is_kept_whole(client: Client) -> None:
    content = as_text(told(type="red-packet", payload={"amount": 8.88, "greeting": "恭喜"}, extra=[1, None]))
    deliver(client, content)
    assert (Message.objects.get().raw, Message.objects.get().type) == (content, "red-packet")


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ({"x-goeasy-signature": ""}, "unsigned"),
        ({"x-goeasy-signature": sign("another", as_text(told()))}, "wrong_signature"),
        ({"x-goeasy-signature": sign(SECRET, as_text(told())).lower()}, "wrong_signature"),
        ({"x-goeasy-signature": "签名"}, "wrong_signature"),
        ({"x-goeasy-signature": sign(SECRET, "")}, "wrong_signature"),
    ],
)
def test_what_is_not_signed_is_refused_and_only_counted(client: Client, headers: dict[str, str], what: str) -> None:
    for _time in range(2):
        assert deliver(client, as_text(told()), **headers).status_code == 401
    assert counted() == {what: 2}
    assert not WebhookDelivery.objects.exists()
    assert not Message.objects.exists()


def test_not_one_bit_of_content_or_signature_may_differ(client: Client) -> None:
    content = as_text(told()).encode()
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


def test_without_a_secret_nothing_is_believed(client: Client, settings: Any) -> None:
    settings.GOEASY_SECRET_KEYS = []
    assert deliver(client, as_text(told()), secret="").status_code == 401
    assert counted() == {"no_secret": 1}


def test_two_secrets_are_valid_while_they_change(client: Client, settings: Any) -> None:
    settings.GOEASY_SECRET_KEYS = ["new", SECRET]
    assert is_acknowledged(deliver(client, as_text(told(1)), secret="new"))
    assert is_acknowledged(deliver(client, as_text(told(2))))
    assert deliver(client, as_text(told(3)), secret="old").status_code == 401


def test_a_secret_is_valid_at_once_and_one_that_is_gone_soon_is_not(client: Client) -> None:
    other = Application.objects.create(slug="other", name="Other", rest_host_saved="hangzhou")
    for secret in ("first", "second"):
        other.set_secret_keys(secret)
        other.save()
        answer = deliver(client, as_text(told(len(secret))), secret=secret, url="/webhooks/goeasy/other/")
        assert is_acknowledged(answer)
    rows.clear_caches()
    assert deliver(client, as_text(told(9)), secret="first", url="/webhooks/goeasy/other/").status_code == 401


def test_what_is_known_of_the_database_is_known_for_a_time_only() -> None:
    known: rows.TTLCache[str, int] = rows.TTLCache(seconds=60)
    known.put("one", 1)
    assert (known.get("one"), known.get("other")) == (1, None)
    brief: rows.TTLCache[str, int] = rows.TTLCache(seconds=0)
    brief.put("one", 1)
    assert brief.get("one") is None


@pytest.mark.django_db(transaction=True)
def test_a_conversation_that_is_not_where_it_was_is_looked_for_again(client: Client) -> None:
    # As after a backup was put back under a process that goes on.
    for number in (1, 2):
        assert is_acknowledged(deliver(client, as_text(told(number))))
    gone = Conversation.objects.get()
    Message.objects.all().delete()
    gone.delete()
    for number in (3, 4):
        assert is_acknowledged(deliver(client, as_text(told(number))))
    deliveries.process(WebhookDelivery.objects.get(problem="failed"))
    assert Message.objects.filter(conversation=Conversation.objects.get()).count() == 2


def test_each_application_has_its_own_secret(client: Client) -> None:
    second = Application(slug="second", name="Second")
    second.set_secret_keys("theirs")
    second.save()
    content = as_text(told())
    assert deliver(client, content, url="/webhooks/goeasy/second/").status_code == 401
    assert is_acknowledged(deliver(client, content, secret="theirs", url="/webhooks/goeasy/second/"))
    assert Message.objects.get().conversation.application == second


def test_an_unknown_application_is_not_found(client: Client) -> None:
    assert deliver(client, as_text(told()), url="/webhooks/goeasy/nobody/").status_code == 404


def test_without_content_there_is_nothing_that_was_signed(client: Client) -> None:
    for body in ("", "content", "a=b", "{}", '{"content": 5}', "{", "&".join(["a=1"] * 101)):
        response = client.post(URL, body, content_type=FORM, headers={"x-goeasy-signature": sign(SECRET, body)})
        assert response.status_code == 401 or (body == "" and not WebhookDelivery.objects.exists())


def test_of_two_contents_the_one_that_is_signed_counts(client: Client) -> None:
    good, bad = as_text(told()), as_text(told(9, senderId="user-b"))
    body = urllib.parse.urlencode([("content", bad), ("content", good)])
    response = client.post(URL, body, content_type=FORM, headers={"x-goeasy-signature": sign(SECRET, good)})
    assert is_acknowledged(response)
    assert Message.objects.get().message_id == "m-0"


@pytest.mark.parametrize("depth", [101, 900, 20_000, 300_000])
def test_a_deep_member_beside_the_content_does_not_refuse_the_delivery(client: Client, depth: int) -> None:
    # How deep the interpreter's own reader goes depends on its version.
    content, deep = as_text(told()), "[" * depth + "]" * depth
    headers = {"x-goeasy-signature": sign(SECRET, content)}
    body = f'{{"more": {deep}, "content": {json.dumps(content)}}}'
    assert is_acknowledged(client.post(URL, body, content_type="application/json", headers=headers))
    for other in (f'{{"content": {deep}}}', deep):
        assert client.post(URL, other, content_type="application/json", headers=headers).status_code == 401


def test_twenty_megabytes_are_taken_in_every_form(client: Client) -> None:
    # The longest escape of each: 60 MB of body.
    text = as_text(told(payload={"text": "界" * 6_980_000}))
    assert 20_900_000 < len(text.encode()) < 20 * 1024 * 1024
    headers = {"x-goeasy-signature": sign(SECRET, text)}
    assert is_acknowledged(deliver(client, text))
    assert is_acknowledged(client.post(URL, {"content": text}, headers=headers))
    assert is_acknowledged(client.post(URL, {"content": text}, content_type="application/json", headers=headers))
    assert counted() == {"repeated": 2}
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.problem) == ("waiting", "large")
    assert bytes(delivery.content) == text.encode()


def test_more_than_the_setting_says_is_refused_and_counted(client: Client, settings: Any) -> None:
    settings.WEBHOOK_MAX_BYTES, settings.WEBHOOK_MAX_BODY_BYTES = 1_000, 3_000
    headers = {"x-goeasy-signature": sign(SECRET, "x" * 2_000)}
    assert deliver(client, "x" * 1_001).status_code == 413
    assert deliver(client, "界" * 1_000).status_code == 413
    assert client.post(URL, "x" * 3_001, content_type="text/plain", headers=headers).status_code == 413
    assert client.post(URL, {"content": "x" * 2_000}, headers=headers).status_code == 413
    assert (
        client.post(URL, {"content": "x" * 2_000}, content_type="application/json", headers=headers).status_code == 413
    )
    assert counted() == {"too_large": 5}
    assert is_acknowledged(deliver(client, "x" * 1_000))
    assert WebhookDelivery.objects.count() == 1


@given(
    st.lists(st.tuples(st.sampled_from(["content", "con+tent", "a", ""]), st.binary(max_size=30))), st.integers(1, 9)
)
def test_a_form_is_read_the_same_in_pieces_of_any_size(fields: list[tuple[str, bytes]], size: int) -> None:
    body = urllib.parse.urlencode(fields).replace("content=", "c%6Fntent=", 1).encode()
    stream = io.BytesIO(body)
    contents = webhooks._form(stream.read(size), lambda _most: stream.read(size))
    assert contents == [value for name, value in fields if name == "content"]


def test_a_body_that_breaks_off_is_refused(client: Client) -> None:
    class Broken(FakePayload):
        def read(self, *arguments: Any) -> bytes:
            raise OSError("the client has gone")

    headers = {"HTTP_X_GOEASY_SIGNATURE": sign(SECRET, "x"), "wsgi.input": Broken(b"content=x")}
    assert client.post(URL, "content=x", content_type=FORM, **headers).status_code == 400


def test_a_part_in_an_unknown_encoding_is_no_content(client: Client) -> None:
    body = b"--x\r\nContent-Disposition: form-data; name*=bogus''content\r\n\r\n[]\r\n--x--\r\n"
    headers = {"x-goeasy-signature": sign(SECRET, "[]")}
    answer = client.generic("POST", URL, body, "multipart/form-data; boundary=x", headers=headers)
    assert (answer.status_code, counted()) == (401, {"wrong_signature": 1})


def test_without_a_signature_no_body_is_read(client: Client) -> None:
    class Unread(FakePayload):
        def read(self, *arguments: Any) -> bytes:
            raise AssertionError("it was read")

    answer = client.post(URL, "content=x", content_type=FORM, **{"wsgi.input": Unread(b"content=x")})
    assert (answer.status_code, counted()) == (401, {"unsigned": 1})


def test_what_is_large_is_read_by_the_worker(client: Client) -> None:
    deliver(client, as_text([told(number, payload={"text": "x" * 1_000}) for number in range(300)]))
    assert (Message.objects.count(), WebhookDelivery.objects.get().problem) == (0, "large")
    assert deliveries.process_due() == 1
    assert (Message.objects.count(), WebhookDelivery.objects.get().state) == (300, "done")
    assert deliveries.process_due() == 0


def test_the_same_delivery_twice_is_one_row_and_acknowledged(client: Client) -> None:
    for content in (
        as_text([told()]),
        "no JSON",
        as_text([told(number, payload="x" * 2_000) for number in range(100)]),
    ):
        assert is_acknowledged(deliver(client, content))
        assert is_acknowledged(deliver(client, content))
        assert WebhookDelivery.objects.filter(sha256=hashlib.sha256(content.encode()).hexdigest()).count() == 1
    assert counted()["repeated"] == 3


def test_what_comes_at_once_shares_a_commit(application: Any, private: Conversation) -> None:
    good = as_text([told(1), told(2)])
    contents = [good, as_text(told(3)), as_text(told(4)), good, "no JSON"]
    with CaptureQueriesContext(connection) as alone:
        deliveries.store([deliveries.IncomingDelivery(application, as_text(told(0)).encode())])
    given = [deliveries.IncomingDelivery(application, content.encode()) for content in contents]
    rows.clear_caches()
    with CaptureQueriesContext(connection) as together:
        deliveries.store(given)
    assert len(together) == len(alone)
    assert [(each.is_new, each.error) for each in given] == [*[(True, None)] * 3, (False, None), (True, None)]
    assert WebhookDelivery.objects.count() == 5
    assert Message.objects.count() == 5


def test_one_that_fails_is_put_off_and_those_beside_it_are_in_the_archive(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = rows.insert_messages

    def refuse_one(messages: Any) -> Any:
        if any(message.message_id == "m-2" for message in messages):
            raise Error("this one cannot be written")
        return write(messages)

    monkeypatch.setattr(rows, "insert_messages", refuse_one)
    given = [deliveries.IncomingDelivery(application, as_text(told(number)).encode()) for number in range(4)]
    deliveries.store(given)
    assert all(each.is_new and each.error is None for each in given)
    assert sorted(Message.objects.values_list("message_id", flat=True)) == ["m-0", "m-1", "m-3"]
    assert WebhookDelivery.objects.get(state="waiting").problem == "failed"


@pytest.mark.django_db(transaction=True)
def test_threads_that_come_while_another_is_writing_are_all_answered(application: Any) -> None:
    turn = deliveries.CommitQueue()
    given = [deliveries.IncomingDelivery(application, as_text(told(number)).encode()) for number in range(8)]

    def leave(each: deliveries.IncomingDelivery) -> None:
        turn.store(each)
        connection.close()

    threads = [threading.Thread(target=leave, args=(each,)) for each in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert all(each.is_done and each.is_new and each.error is None for each in given)
    assert Message.objects.count() == 8


def test_the_same_message_in_two_deliveries_is_one_row(client: Client) -> None:
    without_id = {name: value for name, value in told(5).items() if name != "messageId"}
    deliver(client, as_text([told(), told(1), without_id]))
    deliver(client, as_text([told(1), without_id, told(2), told()]))
    assert Message.objects.count() == 4


def test_a_mark_that_comes_before_its_message_is_remembered_and_the_message_is_kept(client: Client) -> None:
    mark = as_text(told(recalled=True, payload=None, recaller={"id": "support"}))
    said = as_text(told())
    for order in ([mark, said], [said, mark]):
        Message.objects.all().delete()
        WebhookDelivery.objects.all().delete()
        for content in order:
            deliver(client, content)
        message = Message.objects.get()
        assert (message.recalled, message.raw, message.recalled_raw) == (True, said, mark)
        assert message.recaller == {"id": "support"}
        assert message.sha256 == hashlib.sha256(said.encode()).hexdigest()
    Message.objects.all().delete()
    deliver(client, f"[{mark}, {said}]")
    assert (Message.objects.get().raw, Message.objects.get().recalled) == (said, True)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.integers() | st.text() | st.floats() | st.just(told()),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_whatever_is_signed_is_read_or_said_to_be_unreadable(content: bytes) -> None:
    read = deliveries.read_content(content)
    assert read.problem == "" or read.problem in PROBLEMS
    assert len(read.messages) <= content.count(b"timestamp")


def test_nothing_of_a_browser_plays_a_part(administrator: Any, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    client = Client(enforce_csrf_checks=True)
    client.force_login(administrator)
    response = deliver(client, as_text(told()), host="elsewhere.example.com", **{"accept-language": "zh-CN"})
    assert is_acknowledged(response)
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Content-Length"] == "32"
    assert not response.cookies
    assert {"Vary", "Content-Language", "Location"}.isdisjoint(response.headers)
    # GoEasy follows no redirect.
    assert is_acknowledged(deliver(client, as_text(told(1)), url=URL.rstrip("/")))
    assert client.get(URL).status_code == 405


def test_a_database_that_takes_nothing_is_no_acknowledgement(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*arguments: Any) -> None:
        raise Error("gone")

    with connection.execute_wrapper(lambda execute, sql, *rest: away() if "delivery" in sql else execute(sql, *rest)):
        assert deliver(client, as_text(told())).status_code == 503
    assert counted() == {"not_stored": 1}
    assert is_acknowledged(deliver(client, as_text(told())))


def test_messages_that_cannot_be_kept_leave_a_delivery_that_waits_and_is_tried_again(client: Client) -> None:
    def away(execute: Any, sql: str, *rest: Any) -> Any:
        if "archive_message" in sql:
            raise Error("no")
        return execute(sql, *rest)

    with connection.execute_wrapper(away):
        assert is_acknowledged(deliver(client, as_text(told())))
        delivery = WebhookDelivery.objects.get()
        assert (delivery.state, delivery.problem, delivery.detail) == ("waiting", "failed", "Error")
        assert delivery.retry_at is not None
        for _try in range(deliveries.MAX_TRIES):
            assert WebhookDelivery.objects.get().state == "waiting"
            WebhookDelivery.objects.update(retry_at=delivery.received_at)
            assert deliveries.process_due() == 1
        assert WebhookDelivery.objects.get().state == "unread"
    deliveries.process(WebhookDelivery.objects.get())
    assert (Message.objects.count(), WebhookDelivery.objects.get().state) == (1, "done")


@pytest.mark.parametrize("days", [0, 30])
def test_what_is_in_the_archive_goes_after_its_days_and_what_could_not_be_read_stays(
    client: Client, settings: Any, days: int
) -> None:
    from datetime import timedelta

    settings.WEBHOOK_KEEP_DAYS = days
    for content in (as_text(told()), "no JSON", as_text(told(1))):
        deliver(client, content)
    old = WebhookDelivery.objects.order_by("pk")[:2]
    for delivery in old:
        delivery.received_at -= timedelta(days=31)
        delivery.save()
    assert deliveries.prune() == (1 if days else 0)
    assert WebhookDelivery.objects.count() == (2 if days else 3)
    assert Message.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_what_clients_send_through_goeasy_arrives_by_itself(live_server: Any, tmp_path: Any) -> None:
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


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":[' + b"[]," * 400_000 + b'[]],"content":"[]"}',
        b"{" + b'"a":1,' * 300_000 + b'"content":"[]"}',
        b'{"content":"[]","a":"' + b"x" * 1_100_000,
    ],
    ids=["nested", "many members", "cut"],
)
def test_a_large_body_that_is_more_than_content_is_not_looked_into(body: bytes) -> None:
    assert webhooks._json(body) == []


def test_a_large_body_with_plain_members_beside_its_content_is_read() -> None:
    content = "[" + '\\u4f60\\"' * 200_000 + "]"
    body = ('{ "version": 1.5, "content" : "' + content + '", "note":"x" , "ok":true}').encode()
    assert webhooks._json(body) == [json.loads(body)["content"].encode()]
