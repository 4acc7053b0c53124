"""Signatures of GoEasy's webhooks: Base64(HMAC-SHA1(SecretKey, content)) (docs/goeasy-api.md, "Webhook")."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable


def sign(secret: str, content: str | bytes) -> str:
    """Value of `x-goeasy-signature` for `content`; text is encoded as UTF-8."""
    return base64.b64encode(hmac.digest(_bytes(secret), _bytes(content), "sha1")).decode("ascii")


def verify(content: str | bytes, signature: object, secrets: Iterable[str]) -> bool:
    """Whether `signature` is valid for `content` under one of `secrets` (two while a key is rotated).

    Runs in constant time. A malformed signature (None, not ASCII) is invalid. An empty secret never verifies: anybody
    could sign with it.
    """
    if not isinstance(signature, str):
        return False
    given = _bytes(signature)
    # Compare with every secret, so that the time does not reveal which one matches.
    matches = [hmac.compare_digest(given, sign(secret, content).encode()) for secret in secrets if secret]
    return any(matches)


def _bytes(text: str | bytes) -> bytes:
    # "surrogatepass": text with a lone surrogate gets a signature that never matches instead of an exception.
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
