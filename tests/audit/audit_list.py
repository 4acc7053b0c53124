"""The audit log's list in Django admin, and entries to show in it."""

from __future__ import annotations

from typing import Any

from django.test import Client

from moderation.audit.models import Action, AuditEntry

from .entries import record

LIST = "/admin/audit/auditentry/"
GROUP = {"kind": "group", "group_id": "group-1"}
PAIR = {"kind": "private", "user_a": "user-a", "user_b": "user-b"}


def entry(**fields: Any) -> AuditEntry:
    return record(**{"actor": "mo", "action": Action.ANSWERED, **fields})


def listed(client: Client, **query: Any) -> list[int]:
    """Ids of the entries in the list, in order."""
    return [each.pk for each in client.get(LIST, query).context["cl"].result_list]
