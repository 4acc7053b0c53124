"""Entries of any content and version, which event classes would not allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moderation.audit.models import SCHEMA, Action, AuditEntry
from moderation.audit.services import make_entry, record_all


def entry(
    *,
    action: Action,
    conversation: Mapping[str, str] | None = None,
    detail: Mapping[str, Any] | None = None,
    private: Mapping[str, Any] | None = None,
    schema: int = SCHEMA,
    **columns: Any,
) -> AuditEntry:
    """Make an entry with `make_entry()`, without saving it."""
    columns |= conversation or {}
    return make_entry(action, columns, dict(detail or {}), private or {}, None, schema)


def record(**fields: Any) -> AuditEntry:
    """Append an `entry()` with these fields."""
    (appended,) = record_all([entry(**fields)])
    return appended
