"""Generator of `docs/audit-format.md` from the event classes."""

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.utils import translation

from moderation.audit.events import EVENTS, Event, EventField, fields_of, type_name
from moderation.audit.ledger.format import KEYS
from moderation.audit.models import SCHEMA

PATH = Path(settings.BASE_DIR) / "docs" / "audit-format.md"
# Type and meaning of each key of an entry.
MEANINGS = {
    "seq": ("whole number", "its number in the log, from 1"),
    "at": ("text", "when it was recorded: UTC, ISO 8601 with microseconds and `Z`"),
    "actor": (
        "text",
        "the user name of whoever did it; `(not signed in)`, `(command line)` or `(worker)` for what is no account",
    ),
    "action": ("text", "which event it is: one of those below"),
    "app": ("text or null", "the short name of the application"),
    "conversation": (
        "object or null",
        '`{"kind": "private", "user_a", "user_b"}` or `{"kind": "group", "group_id"}`',
    ),
    "recall": ("UUID or null", "the recall"),
    "batch": ("whole number or null", "which call of the recall, from 0"),
    "attempt": ("whole number or null", "which attempt of the call, from 1"),
    "timestamps": ("list of whole numbers or null", "the messages, by their time in milliseconds since the epoch"),
    "request": ("object or null", "the body that was sent, its key masked"),
    "http_status": ("whole number or null", "the HTTP status that came"),
    "response_code": ("whole number, text or null", "GoEasy’s code"),
    "response_content": ("text or null", "GoEasy’s content"),
    "latency_ms": ("whole number, text or null", "how long the answer took, in milliseconds"),
    "detail": ("object", "the event’s own fields: those below"),
    "prev_hash": ("text", "the `hash` of the entry before; 64 zeros in the first"),
    "hash": ("text", "the SHA-256 of the entry’s canonical form (RFC 8785) without `hash` and `private`"),
    "schema": ("whole number", "the version of the format; entries of version 1 do not have this key"),
    "private": (
        "object or null",
        "what can be erased: `salt` and `content`, an object with the event’s erasable fields; null once it is erased, "
        "and where there is nothing",
    ),
}
INTRODUCTION = """# The format of the audit log

Made by `manage.py audit_format` from the event classes (`events.py` of each app). Do not edit it: a test compares.

An export (`manage.py export_audit`) has one entry a line, a JSON object with these keys. What does not apply is null.
A whole number beyond 2^53 - 1 is written as text, and so is what nests deeper than 100 levels. In CSV, the keys are the
columns.
"""
DETAIL = """
Every `detail` may also have

- `from`: where the request came from, `{"address", "user_agent", "request_id"}`; absent in background work.
- `private`: the SHA-256 of the canonical form of the entry’s `private`. It stays when the text is erased.

`moderation/audit/verifier.py` says how hashes, checkpoints and proofs are checked, and checks them.
"""
VERSIONS = f"""
## Versions

| version | what it is |
|---|---|
| 1 | `detail` was free in form. It had the fields below or some of them; there was no key `schema` |
| 2 | `detail` has the fields below |

Entries are written in version {SCHEMA}. The log, its exports and the verifier read every version: what was written is
never changed.
"""
EVENTS_INTRODUCTION = """
## Events

Each event fills the keys named after it, beside `seq`, `at`, `actor`, `action`, `schema` and the hashes. Its table has
the fields of its `detail`. One that is optional is absent where it does not apply.
"""


def document() -> str:
    """The whole document, always in English."""
    with translation.override("en"):
        rows = [f"| `{key}` | {MEANINGS[key][0]} | {MEANINGS[key][1]} |" for key in KEYS]
        keys = "\n".join(["| key | type | what it holds |", "|---|---|---|", *rows])
        events = "\n".join(section(EVENTS[action]) for action in sorted(EVENTS))
        return "\n".join([INTRODUCTION, keys, DETAIL.rstrip(), VERSIONS.rstrip(), EVENTS_INTRODUCTION, events])


def section(event: type[Event]) -> str:
    """The section about one event."""
    fields = fields_of(event)  # type: ignore[arg-type]  # a class is hashable, whatever its instances hold
    columns = [f"`{field.name}`" for field in fields if not field.meta and field.name != "actor"]
    details = [row(field) for field in fields if field.meta]
    lines = [heading(event), "", event.summary()]
    if columns:
        lines += ["", f"Fills {', '.join(columns)}."]
    if details:
        lines += ["", "| field | type | | what it holds |", "|---|---|---|---|", *details]
    return "\n".join([*lines, ""])


def heading(event: type[Event]) -> str:
    """The heading of an event's section."""
    return f"### {event.action.value}"


def row(field: EventField) -> str:
    """The table row of one field."""
    notes = ["optional"] if field.is_optional else []
    notes += ["can be erased"] if field.is_private else []
    # For an optional field, null means the same as absence.
    kind = type_name(field.type).removesuffix(" or null") if field.is_optional else type_name(field.type)
    assert field.meta  # noqa: S101 - for the type checker: columns have no line
    values = field.meta.value_labels().items()
    codes = ", ".join(f"`{value}`" if value == text else f"`{value}` ({text})" for value, text in values)
    meaning = ": ".join(filter(None, [field.label, field.meta.meaning or codes]))
    return f"| `{field.name}` | {kind} | {', '.join(notes)} | {meaning} |"


def differences(text: str) -> Iterator[str]:
    """Differences between `text` and the generated document, a message for each event."""
    missing = "docs/audit-format.md {} the event {}. Run `manage.py audit_format`."
    for action in sorted(EVENTS):
        event = EVENTS[action]
        if f"\n{heading(event)}\n" not in text:
            yield missing.format("does not list", action)
        elif section(event) not in text:
            yield missing.format("does not describe as it is", action)
    for line in text.splitlines():
        if line.startswith("### ") and line.removeprefix("### ") not in EVENTS:
            yield missing.format("lists what is not", line.removeprefix("### "))
    if text != document():
        yield "docs/audit-format.md is not what the event classes make. Run `manage.py audit_format`."
