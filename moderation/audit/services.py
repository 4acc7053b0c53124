"""Writing the audit log: called inside the transaction of the step that an entry is about."""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.db import transaction
from django.utils import timezone

from moderation.audit import verifier
from moderation.audit.events import Event
from moderation.audit.ledger.format import MAX_DEPTH
from moderation.audit.models import SCHEMA, Action, AuditEntry, AuditPrivate
from moderation.audit.request_context import current_actor, request_origin
from moderation.audit.terms import add_terms

CONTAINERS = (dict, list, tuple)
# Opening the same thing again within this time is not recorded again.
REPEATED_READ_WINDOW = timedelta(hours=1)
SCALARS = frozenset({int, str, float, bool, type(None)})


class TooDeepToRecord(ValueError):
    """A value to be recorded is nested deeper than MAX_DEPTH."""


def entry_of(event: Event) -> AuditEntry:
    """Make the entry of `event`, without saving it. Raises TooDeepToRecord."""
    columns: dict[str, Any] = {}
    detail: dict[str, Any] = {}
    private: dict[str, Any] = {}
    for field, value in event.values():
        part = columns if field.meta is None else private if field.is_private else detail
        part[field.name] = value
    columns |= columns.pop("conversation", None) or {}
    made = make_entry(event.action, columns, detail, private, event.origin, SCHEMA)
    made.senders = tuple(event.senders)  # type: ignore[attr-defined]
    return made


def make_entry(
    action: Action,
    columns: dict[str, Any],
    detail: dict[str, Any],
    private: Mapping[str, Any],
    given_origin: Mapping[str, str] | None,
    schema: int,
) -> AuditEntry:
    """Make an entry of these values, without saving it.

    `detail` gets the origin of the current request under "from", and a salted hash of the private part under "private".
    Raises TooDeepToRecord: an entry that the sealer cannot read back would stop it for good.
    """
    if nests_deeper([detail, columns.get("request"), columns.get("timestamps"), private], MAX_DEPTH + 1):
        raise TooDeepToRecord(f"{action}: it nests deeper than {MAX_DEPTH} levels")
    if origin := request_origin() or given_origin:
        detail["from"] = dict(origin)
    if private:
        content, salt = json.dumps(private), secrets.token_hex(32)
        part = {"salt": salt, "content": verifier.load(content)}
        detail["private"] = sha256(verifier.canonical(part)).hexdigest()
    made = AuditEntry(at=timezone.now(), action=action, detail=detail, schema=schema, **columns)
    if private:
        made.private = AuditPrivate(entry=made, salt=salt, content=content)
    return made


def nests_deeper(value: Any, levels: int) -> bool:
    """Whether `value` has more than `levels` levels of lists and objects. Works without recursion."""
    level = _containers([value])
    for _deeper in range(levels):
        level = [part for each in level for part in _containers(each.values() if isinstance(each, dict) else each)]
        if not level:
            return False
    return True


def _containers(parts: Iterable[Any]) -> list[Any]:
    """The lists and objects among `parts`."""
    # Shortcut for the common cases: texts, and thousands of timestamps.
    return [] if SCALARS.issuperset(map(type, parts)) else [part for part in parts if isinstance(part, CONTAINERS)]


def record(event: Event) -> AuditEntry:
    """Append the entry of `event` and return it.

    Raises when it cannot be recorded, so that the transaction of the step fails: no action happens without its entry.
    """
    (appended,) = record_all([event])
    return appended


def record_all(events: Sequence[Event | AuditEntry]) -> list[AuditEntry]:
    """Append the entries of `events` in order. Raises like `record()`."""
    entries = [entry_of(event) if isinstance(event, Event) else event for event in events]
    parts = [entry.private for entry in entries if hasattr(entry, "private")]
    # Without a savepoint: a step whose entry fails, fails.
    with transaction.atomic(savepoint=False):
        AuditEntry.objects.bulk_create(entries)
        # After the entries: each uses the key of its entry.
        if parts:
            AuditPrivate.objects.bulk_create(parts)
        add_terms(entries)
    return entries


def was_recorded_lately(**fields: Any) -> bool:
    """Whether the current actor has an entry with these fields within REPEATED_READ_WINDOW."""
    return AuditEntry.objects.filter(
        actor=current_actor(), at__gte=timezone.now() - REPEATED_READ_WINDOW, **fields
    ).exists()
