"""What the settings were when a backup was made, no secret among it, to say which differ where it is put back."""

import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from django.conf import settings

# The name in the environment, and where it is in the settings if that is another.
SECRETS = {
    **{name: name for name in ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "AUDIT_SIGNING_KEY", "AUDIT_CHECKPOINT_URL")},
    **{name: name for name in ("FIELD_ENCRYPTION_KEY", "FIELD_ENCRYPTION_KEY_FALLBACKS", "GOEASY_APPKEY")},
    "GOEASY_SECRET_KEY": "GOEASY_SECRET_KEYS",
}
PLAIN = (
    *("DEBUG", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "HTTPS", "FORWARDED_HOPS", "MEDIA_ORIGINS"),
    *("SCRIPT_NAME", "READER_ALARM_PER_HOUR", "WEBHOOK_MAX_MB"),
    *("GOEASY_REST_HOST", "GOEASY_ALLOWED_HOSTS", "GOEASY_CONCURRENCY", "GOEASY_MAX_CALLS_PER_SECOND"),
    *("GOEASY_CONNECT_TIMEOUT", "GOEASY_READ_TIMEOUT", "FEED_COMPARE_MINUTES", "WEBHOOK_KEEP_DAYS"),
    *("RECALL_GRACE_SECONDS", "RECALL_VERIFY", "RECALL_VERIFY_AFTER", "SWEEP_MAX_MESSAGES"),
    *("AUDIT_FORMER_PUBLIC_KEYS", "AUDIT_CHECKPOINT_MINUTES", "AUDIT_CHECKPOINT_STDOUT"),
)


def fingerprint(salt: bytes) -> dict[str, str]:
    """Each setting by its name in the environment: a secret as a salted, slow hash, empty if it is not set."""
    secrets = {name: hashed(getattr(settings, attribute), salt) for name, attribute in SECRETS.items()}
    return {**secrets, **{name: as_text(getattr(settings, name)) for name in PLAIN}}


def as_text(value: Any) -> str:
    """The value as JSON; bytes as hexadecimal, what JSON has no form for as its text."""
    return json.dumps(
        value, default=lambda each: each.hex() if isinstance(each, bytes) else str(each), ensure_ascii=False
    )


def hashed(value: Any, salt: bytes) -> str:
    """A slow hash that shows whether a secret is the same: 16 MB and tens of milliseconds for each guess."""
    return Scrypt(salt=salt, length=16, n=2**14, r=8, p=1).derive(as_text(value).encode()).hex() if value else ""


def differences(made: Mapping[str, str], salt: bytes) -> list[str]:
    """The names of the settings that are not what they were, in order; those that only one version knows left out."""
    return sorted(name for name, value in fingerprint(salt).items() if made.get(name, value) != value)
