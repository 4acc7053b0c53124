"""What each role may do: the one table that the browser, the admin and the command line all ask."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    """Who somebody is to the console."""

    MODERATOR = "moderator", _("Moderator")
    LEAD = "lead", _("Lead moderator")
    AUDITOR = "auditor", _("Auditor")
    ADMIN = "admin", _("Administrator")


MODERATOR = frozenset(
    {
        "archive.view_conversation",
        "archive.view_message",
        "archive.open_conversation",
        "ingestion.view_feed",
        "recall.view_recall",
        "recall.add_recall",
    }
)
LEAD = (
    MODERATOR
    | {"archive.hold_conversation", "recall.override_recaller"}
    | {
        f"{app}.{action}_{model}"
        for app, model in (("recall", "recallreason"), ("accounts", "pseudonym"))
        for action in ("view", "add", "change", "delete")
    }
)


def role_allows(role: str, permission: str) -> bool:
    """Whether `role` has `permission` ("app.codename").

    An auditor reads everything and exports it, and changes nothing. Nobody's role lets the audit log be
    changed: its admin refuses that to everyone, and so does the database (`audit/triggers.py`).
    """
    match role:
        case Role.ADMIN:
            return True
        case Role.AUDITOR:
            return permission.partition(".")[2].startswith("view_") or permission == "audit.export_auditentry"
        case Role.LEAD:
            return permission in LEAD
        case Role.MODERATOR:
            return permission in MODERATOR
    return False
