"""Bodies of webhook requests: forms in every encoding, limits, and malformed ones."""

from __future__ import annotations

import io
import json
import urllib.parse
import urllib.request
from typing import Any

import pytest
from django.test import Client
from django.test.client import FakePayload
from hypothesis import given
from hypothesis import strategies as st

from moderation.archive.models import Message
from moderation.goeasy.signing import sign
from moderation.ingestion import webhooks
from moderation.ingestion.models import WebhookDelivery
from tests.ingestion.signed import FORM, SECRET, URL, as_text, counted, deliver, is_acknowledged, message_data

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def secret(application: Any, settings: Any) -> None:
    settings.GOEASY_SECRET_KEYS = [SECRET]


def test_without_content_there_is_nothing_that_was_signed(client: Client) -> None:
    for body in ("", "content", "a=b", "{}", '{"content": 5}', "{", "&".join(["a=1"] * 101)):
        response = client.post(URL, body, content_type=FORM, headers={"x-goeasy-signature": sign(SECRET, body)})
        assert response.status_code == 401 or (body == "" and not WebhookDelivery.objects.exists())


def test_of_two_contents_the_one_that_is_signed_counts(client: Client) -> None:
    good, bad = as_text(message_data()), as_text(message_data(9, senderId="user-b"))
    body = urllib.parse.urlencode([("content", bad), ("content", good)])
    response = client.post(URL, body, content_type=FORM, headers={"x-goeasy-signature": sign(SECRET, good)})
    assert is_acknowledged(response)
    assert Message.objects.get().message_id == "m-0"


@pytest.mark.parametrize("depth", [101, 900, 20_000, 300_000])
def test_a_deep_member_beside_the_content_does_not_refuse_the_delivery(client: Client, depth: int) -> None:
    # How deep the interpreter's own reader goes depends on its version.
    content, deep = as_text(message_data()), "[" * depth + "]" * depth
    headers = {"x-goeasy-signature": sign(SECRET, content)}
    body = f'{{"more": {deep}, "content": {json.dumps(content)}}}'
    assert is_acknowledged(client.post(URL, body, content_type="application/json", headers=headers))
    for other in (f'{{"content": {deep}}}', deep):
        assert client.post(URL, other, content_type="application/json", headers=headers).status_code == 401


def test_twenty_megabytes_are_taken_in_every_form(client: Client) -> None:
    # The longest escape of each: 60 MB of body.
    text = as_text(message_data(payload={"text": "界" * 6_980_000}))
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
    assert webhooks._json(bytearray(body)) == []


def test_a_large_body_with_plain_members_beside_its_content_is_read() -> None:
    content = "[" + '\\u4f60\\"' * 200_000 + "]"
    body = ('{ "version": 1.5, "content" : "' + content + '", "note":"x" , "ok":true}').encode()
    assert webhooks._json(bytearray(body)) == [json.loads(body)["content"].encode()]


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.dictionaries(st.text(max_size=3), PLAIN, max_size=3), PLAIN, st.booleans())
def test_a_large_body_is_read_as_a_small_one_of_the_same_text(
    others: dict[str, Any], content: Any, is_ascii: bool
) -> None:
    text = json.dumps({**others, "content": content}, ensure_ascii=is_ascii)
    body = bytearray(text.encode("utf-8", "surrogatepass"))
    assert webhooks._large_json(body) == webhooks._json(body)


@pytest.mark.parametrize(
    "text",
    [
        '{"c\\u006fntent": "[]"}',
        '{"content": "first", "content": "last \\ud83d\\ude00 \\/ \\\\ \\u00e9"}',
        '{"content": "text", "content": 1}',
        '{"content": "\\x"}',
        '{"content": "\\u12"}',
        '{"content": ""}',
        '{"more": "\\"content\\": \\"x\\""}',
        "{}",
        '{"content": "x"',
    ],
)
def test_an_unusual_large_body_is_read_as_a_small_one(text: str) -> None:
    body = bytearray(text.encode())
    assert webhooks._large_json(body) == webhooks._json(body)
