"""Signatures of GoEasy's webhooks: Base64(HMAC-SHA1(SecretKey, content)) (docs/goeasy-api.md, "Webhook")."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable


def sign(secret: str, content: str | bytes) -> str:
    """The value of `x-goeasy-signature` for `content`, a text counting as its UTF-8."""
    return base64.b64encode(hmac.digest(_bytes(secret), _bytes(content), "sha1")).decode("ascii")


def verify(content: str | bytes, signature: object, secrets: Iterable[str]) -> bool:
    """Whether `signature` is that of `content` under one of `secrets` (two while a key is rotated).

    Takes the same time wherever it differs; what is no signature at all (None, no ASCII) is simply not one.
    An empty secret verifies nothing: anybody could sign with it.
    """
    if not isinstance(signature, str):
        return False
    given = _bytes(signature)
    # All of them, even after one that fits: the time taken does not tell which.
    fits = [hmac.compare_digest(given, sign(secret, content).encode()) for secret in secrets if secret]
    return any(fits)


def _bytes(text: str | bytes) -> bytes:
    # "surrogatepass": a text that UTF-8 cannot hold gets a signature that nobody sends, not an exception.
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
