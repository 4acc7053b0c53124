"""Fingerprint of the settings in a backup, free of secrets, to show which ones differ after a restore."""

import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from django.conf import settings

# Name in the environment, and name in the settings.
SECRETS = {
    **{name: name for name in ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "AUDIT_SIGNING_KEY", "AUDIT_CHECKPOINT_URL")},
    **{name: name for name in ("FIELD_ENCRYPTION_KEY", "FIELD_ENCRYPTION_KEY_FALLBACKS", "GOEASY_APPKEY")},
    "GOEASY_SECRET_KEY": "GOEASY_SECRET_KEYS",
}
PLAIN = (
    *("DEBUG", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "HTTPS", "FORWARDED_HOPS", "MEDIA_ORIGINS"),
    *("SCRIPT_NAME", "READER_ALARM_PER_HOUR", "WEBHOOK_MAX_MB", "CONSOLE_TIME_ZONE"),
    *("GOEASY_REST_HOST", "GOEASY_ALLOWED_HOSTS", "GOEASY_CONCURRENCY", "GOEASY_MAX_CALLS_PER_SECOND"),
    *("GOEASY_CONNECT_TIMEOUT", "GOEASY_READ_TIMEOUT", "FEED_COMPARE_MINUTES", "WEBHOOK_KEEP_DAYS"),
    *("RECALL_GRACE_SECONDS", "RECALL_VERIFY", "RECALL_VERIFY_AFTER", "SWEEP_MAX_MESSAGES"),
    *("AUDIT_FORMER_PUBLIC_KEYS", "AUDIT_CHECKPOINT_MINUTES", "AUDIT_CHECKPOINT_STDOUT"),
)


def fingerprint(salt: bytes) -> dict[str, str]:
    """Each setting by its name in the environment; secrets as salted, slow hashes, empty if not set."""
    secrets = {name: hashed(getattr(settings, attribute), salt) for name, attribute in SECRETS.items()}
    return {**secrets, **{name: as_text(getattr(settings, name)) for name in PLAIN}}


def as_text(value: Any) -> str:
    """The value as JSON; bytes as hexadecimal, other types as their text."""
    return json.dumps(
        value, default=lambda each: each.hex() if isinstance(each, bytes) else str(each), ensure_ascii=False
    )


def hashed(value: Any, salt: bytes) -> str:
    """Slow hash for comparing a secret: each guess takes 16 MB and tens of milliseconds."""
    return Scrypt(salt=salt, length=16, n=2**14, r=8, p=1).derive(as_text(value).encode()).hex() if value else ""


def differences(made: Mapping[str, str], salt: bytes) -> list[str]:
    """Names of settings that changed since the backup, sorted; those that only one version has are omitted."""
    return sorted(name for name, value in fingerprint(salt).items() if made.get(name, value) != value)
