"""Requests and forms whose effects are recorded, and the recorded entry."""

from __future__ import annotations

import json
from typing import Any

from django.urls import reverse

from moderation.accounts.models import User
from moderation.audit.models import AuditEntry

PASSWORD = "correct horse battery staple"
NEW_PASSWORD = "another horse battery staple"
LOGIN, ADMIN_LOGIN = "/accounts/login/", "/admin/login/"
FROM = {"HTTP_USER_AGENT": "Browser/1.0", "REMOTE_ADDR": "203.0.113.7", "HTTP_X_REQUEST_ID": "request-0001"}
ORIGIN = {"address": "203.0.113.7", "user_agent": "Browser/1.0", "request_id": "request-0001"}


def only_entry() -> tuple[str, str, dict[str, Any]]:
    """Actor, action and detail (with the private part) of the only entry. Checks its origin."""
    entry = AuditEntry.objects.get()
    assert entry.detail.pop("from") == ORIGIN
    if entry.detail.pop("private", None):
        entry.detail |= json.loads(entry.private.content)
    return entry.actor, entry.action, entry.detail


def account(user: User, **fields: Any) -> dict[str, Any]:
    """Form data of an account in Django admin, with changed `fields`."""
    form = {
        "username": user.username,
        "role": user.role,
        "is_active": "on",
        "media": "blur",
        "theme": "system",
        "grace_seconds": "0",
    }
    return {**form, "language": "", "timezone": "", **fields}


def change(user: User) -> str:
    """URL of an account in Django admin."""
    return reverse("admin:accounts_user_change", args=[user.pk])
