"""Encrypting the stored keys again after a change of FIELD_ENCRYPTION_KEY or SECRET_KEY."""

from dataclasses import dataclass, field

from django.db import transaction

from moderation.applications.events import KeysRotated
from moderation.applications.models import Application
from moderation.applications.secrecy import reseal, unseal
from moderation.audit.services import record

SEALED = ("appkey_sealed", "secret_keys_sealed")


@dataclass
class Rotation:
    """Number of stored keys encrypted again, already current, and not decryptable by any configured key."""

    rotated: int = 0
    current: int = 0
    unreadable: int = 0
    # Short names of the applications with keys encrypted again, and of those with unreadable keys.
    applications: list[str] = field(default_factory=list)
    unreadable_in: list[str] = field(default_factory=list)


def rotate(*, actor: str) -> Rotation:
    """Encrypt every stored key with the current encryption key, in one transaction; recorded if anything changed."""
    done = Rotation()
    with transaction.atomic():
        for application in Application.objects.select_for_update().order_by("pk"):
            changed = {}
            for name in SEALED:
                sealed = getattr(application, name)
                anew = reseal(sealed) if sealed else ""
                if anew is None:
                    done.unreadable += 1
                    done.unreadable_in.append(application.slug)
                elif anew != sealed:
                    changed[name] = anew
                elif sealed:
                    done.current += 1
            if changed:
                done.rotated += len(changed)
                done.applications.append(application.slug)
                # Not `save()`, which would record changed keys; only their encryption changes.
                Application.objects.filter(pk=application.pk).update(**changed)
        if done.rotated:
            record(
                KeysRotated(
                    actor=actor, rotated=done.rotated, unreadable=done.unreadable, applications=done.applications
                )
            )
    return done


def count_unreadable() -> int:
    """Number of stored keys that no configured encryption key decrypts."""
    stored = Application.objects.values_list(*SEALED)
    return sum(1 for row in stored for sealed in row if sealed and not unseal(sealed))
