"""Encryption at rest for application keys, with keys derived from FIELD_ENCRYPTION_KEY, or SECRET_KEY while unset."""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def _fernets() -> list[Fernet]:
    """The ciphers: the first encrypts, the others decrypt what former keys encrypted.

    Includes SECRET_KEY, so that its ciphertexts stay readable after FIELD_ENCRYPTION_KEY is first set.
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
    """Encrypt `text`; an empty text stays empty."""
    return _fernets()[0].encrypt(text.encode()).decode() if text else ""


def unseal(sealed: str) -> str:
    """Decrypt what `seal` returned; empty when no configured key decrypts it, which counts as not configured."""
    try:
        return MultiFernet(_fernets()).decrypt(sealed.encode()).decode() if sealed else ""
    except InvalidToken:
        return ""


def reseal(sealed: str) -> str | None:
    """Encrypt again with the current key, or return `sealed` if it is current; None when no key decrypts it."""
    try:
        _fernets()[0].decrypt(sealed.encode())
        return sealed
    except InvalidToken:
        text = unseal(sealed)
        return seal(text) if text else None
