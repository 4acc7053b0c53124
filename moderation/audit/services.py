"""Writing the audit log: called inside the transaction of the step that it tells of."""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from moderation.audit import verifier
from moderation.audit.models import Action, AuditEntry, AuditPrivate
from moderation.audit.requests import acting, origin

# Levels of lists and objects. What nests deeper is hashed and exported as text, and some readers of JSON give up.
DEEPEST = 100
CONTAINERS = (dict, list, tuple)
# Opening something again within this time counts as reading on, and is not recorded again.
READS_ON = timedelta(hours=1)
PLAIN = frozenset({int, str, float, bool, type(None)})


class TooDeepToRecord(ValueError):
    """What was to be recorded nests deeper than DEEPEST."""


def entry(
    *,
    actor: str,
    action: Action,
    app: str = "",
    conversation: Mapping[str, str] | None = None,
    recall: UUID | None = None,
    batch: int | None = None,
    attempt: int | None = None,
    timestamps: Sequence[int] | None = None,
    request: Mapping[str, object] | None = None,
    http_status: int | None = None,
    response_code: int | None = None,
    response_content: str | None = None,
    latency_ms: int | None = None,
    detail: Mapping[str, Any] | None = None,
    private: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """One entry, not yet in the log: for `record_all()`.

    `conversation` is {"kind", "user_a", "user_b"} or {"kind", "group_id"}; `timestamps` are milliseconds since
    the epoch; `request` is the body sent, its key masked already. Where the request that is being answered comes
    from is added to `detail` under "from". `private`, free text about people, is kept apart so that it can be erased:
    `detail` has its salted hash under "private". Raises TooDeepToRecord: what the sealer could not read back would keep
    it from everything that comes after.
    """
    detail = dict(detail or {})
    if nests_deeper([detail, request, timestamps, private], DEEPEST + 1):
        raise TooDeepToRecord(f"{action}: it nests deeper than {DEEPEST} levels")
    if found := origin():
        detail["from"] = found
    if private:
        content, salt = json.dumps(private), secrets.token_hex(32)
        part = {"salt": salt, "content": verifier.load(content)}
        detail["private"] = sha256(verifier.canonical(part)).hexdigest()
    made = AuditEntry(
        at=timezone.now(),
        actor=actor,
        action=action,
        app=app,
        **(conversation or {}),
        recall=recall,
        batch=batch,
        attempt=attempt,
        timestamps=None if timestamps is None else list(timestamps),
        request=request,
        http_status=http_status,
        response_code=response_code,
        response_content=response_content,
        latency_ms=latency_ms,
        detail=detail,
    )
    if private:
        made.private = AuditPrivate(entry=made, salt=salt, content=content)
    return made


def nests_deeper(value: Any, levels: int) -> bool:
    """Whether `value` has more than so many levels of lists and objects. No call nests, however deep it is."""
    level = _containers([value])
    for _deeper in range(levels):
        level = [part for each in level for part in _containers(each.values() if isinstance(each, dict) else each)]
        if not level:
            return False
    return True


def _containers(parts: Iterable[Any]) -> list[Any]:
    """Those of `parts` that have parts."""
    # Most are texts, or thousands of timestamps.
    return [] if PLAIN.issuperset(map(type, parts)) else [part for part in parts if isinstance(part, CONTAINERS)]


def record(**fields: Any) -> AuditEntry:
    """Append the `entry()` of these fields and return it.

    What cannot be recorded raises, and with it the step fails: an action without its entry does not happen.
    """
    (appended,) = record_all([entry(**fields)])
    return appended


def record_all(entries: Sequence[AuditEntry]) -> list[AuditEntry]:
    """Append `entries` in their order; as `record()`."""
    parts = [entry.private for entry in entries if hasattr(entry, "private")]
    if not parts:
        return AuditEntry.objects.bulk_create(entries)
    with transaction.atomic():
        AuditEntry.objects.bulk_create(entries)
        # Each takes the key of its entry.
        AuditPrivate.objects.bulk_create(parts)
    return list(entries)


def was_recorded_lately(**fields: Any) -> bool:
    """Whether the account of the current request has an entry with these fields from the last READS_ON."""
    return AuditEntry.objects.filter(actor=acting(), at__gte=timezone.now() - READS_ON, **fields).exists()


def record_search(page: str, **asked: Any) -> None:
    """Record that whoever's request is being answered looks on `page` for messages or conversations by `asked`."""
    record(actor=acting(), action=Action.SEARCHED, detail={"page": page}, private={"asked": asked})
