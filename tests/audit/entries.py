"""Entries of any content and version: what the event classes would not let anybody write."""

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
    """An entry that is not in the log yet, as `make_entry()` makes it."""
    columns |= conversation or {}
    return make_entry(action, columns, dict(detail or {}), private or {}, None, schema)


def record(**fields: Any) -> AuditEntry:
    """Append the `entry()` of these fields."""
    (appended,) = record_all([entry(**fields)])
    return appended
