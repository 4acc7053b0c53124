"""Encryption at rest for application keys, with keys derived from FIELD_ENCRYPTION_KEY, or SECRET_KEY while unset."""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def _fernets() -> list[Fernet]:
    """The first seals; the others still open what former keys sealed.

    SECRET_KEY stays among them: what it sealed is readable after FIELD_ENCRYPTION_KEY was set for the first time.
    """
    keys = [
        *filter(None, [settings.FIELD_ENCRYPTION_KEY]),
        *(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS, *settings.FIELD_ENCRYPTION_KEY_FALLBACKS),
    ]
    return [
        Fernet(
            base64.urlsafe_b64encode(
                HKDF(SHA256(), length=32, salt=None, info=b"goeasy application keys").derive(key.encode())
            )
        )
        for key in keys
    ]


def seal(text: str) -> str:
    """`text` encrypted; an empty text stays empty."""
    return _fernets()[0].encrypt(text.encode()).decode() if text else ""


def unseal(sealed: str) -> str:
    """What `seal` was given; empty when no known key opens it, which counts as not configured."""
    try:
        return MultiFernet(_fernets()).decrypt(sealed.encode()).decode() if sealed else ""
    except InvalidToken:
        return ""


def reseal(sealed: str) -> str | None:
    """What `seal` would make of it today; `sealed` itself if today's key made it; None when no known key opens it."""
    try:
        _fernets()[0].decrypt(sealed.encode())
        return sealed
    except InvalidToken:
        text = unseal(sealed)
        return seal(text) if text else None
