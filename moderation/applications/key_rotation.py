"""Encrypting the stored keys anew after FIELD_ENCRYPTION_KEY or SECRET_KEY has changed."""

from dataclasses import dataclass, field

from django.db import transaction

from moderation.applications.models import Application
from moderation.applications.secrecy import reseal, unseal
from moderation.audit.models import Action
from moderation.audit.services import record

SEALED = ("appkey_sealed", "secret_keys_sealed")


@dataclass
class Rotation:
    """How many stored keys were encrypted anew, how many had been already, and how many no known key opens."""

    rotated: int = 0
    current: int = 0
    unreadable: int = 0
    # Short names of the applications with keys that were encrypted anew, and of those with unreadable ones.
    applications: list[str] = field(default_factory=list)
    unreadable_in: list[str] = field(default_factory=list)


def rotate(*, actor: str) -> Rotation:
    """Encrypt every stored key with today's key, all of them or none; recorded if anything changed."""
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
                # Not `save()`, which would record a changed key: the keys are what they were.
                Application.objects.filter(pk=application.pk).update(**changed)
        if done.rotated:
            counts = {"rotated": done.rotated, "unreadable": done.unreadable, "applications": done.applications}
            record(actor=actor, action=Action.KEYS_ROTATED, detail=counts)
    return done


def count_unreadable() -> int:
    """How many stored keys no known key opens."""
    stored = Application.objects.values_list(*SEALED)
    return sum(1 for row in stored for sealed in row if sealed and not unseal(sealed))
