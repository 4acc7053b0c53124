"""Webhook signatures."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.goeasy.signing import sign, verify

# RFC 2202, test case 2: HMAC-SHA1 with the key "Jefe".
JEFE = base64.b64encode(bytes.fromhex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")).decode()


def test_a_signature_matches_rfc_2202():
    assert sign("Jefe", "what do ya want for nothing?") == JEFE
    assert sign("Jefe", b"what do ya want for nothing?") == JEFE


def test_text_is_signed_as_utf_8():
    assert sign("secret", "撤回 🙂") == sign("secret", "撤回 🙂".encode())


def test_a_signature_by_any_secret_verifies():
    assert verify("content", sign("old", "content"), ["new", "old"])
    assert verify(b"content", sign("new", "content"), iter(["new", "old"]))
    assert not verify("content", sign("older", "content"), ["new", "old"])


def test_changed_content_does_not_verify():
    assert not verify("content ", sign("secret", "content"), ["secret"])


@pytest.mark.parametrize("signature", [None, "", "签名", "\udc80", "a\x00b", 5, b"bytes", JEFE[:-1], JEFE + "\n"])
def test_a_malformed_signature_does_not_verify(signature: object):
    assert verify("what do ya want for nothing?", signature, ["Jefe"]) is False


def test_an_empty_secret_verifies_nothing():
    assert not verify("content", sign("", "content"), [""])
    assert not verify("content", sign("", "content"), [])


@given(st.text() | st.binary(), st.text(min_size=1))
def test_every_signature_verifies(content: str | bytes, secret: str):
    assert verify(content, sign(secret, content), [secret])


@given(
    st.text(st.characters()) | st.binary(),
    st.one_of(st.none(), st.text(st.characters()), st.binary(), st.integers()),
    st.lists(st.text(st.characters())),
)
def test_verifying_any_value_raises_nothing(content: str | bytes, signature: object, secrets: list[str]):
    assert verify(content, signature, secrets) in {True, False}
