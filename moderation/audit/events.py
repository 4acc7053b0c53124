"""Events of the audit log: one class for each action, with named and typed fields.

Each app declares its events in its `events.py`, which the audit log imports when the apps are ready; `record()` in
`audit/services.py` writes them. A field whose name is among COLUMNS goes into the entry's column of that name. Any
other is annotated with a label: `Detail` puts it into the entry's `detail`, `Private` apart from the entry, so that it
can be erased. A field with a default is left out of the entry while it has that value.

`docs/audit-format.md` is made from these classes (`audit/format_document.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from django.db.models import Choices
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from moderation.audit.models import Action, AuditAlarm

if TYPE_CHECKING:
    from moderation.audit.sentences import Facts

Text = str | Promise

# Fields that have a column of their own, with their labels.
COLUMNS: dict[str, Text] = {
    "actor": _("Actor"),
    "app": _("Application"),
    "conversation": _("Conversation"),
    "recall": _("Recall"),
    "batch": _("Request, counted from 0"),
    "attempt": _("Attempt"),
    "timestamps": _("Timestamps"),
    "request": _("What was sent"),
    "http_status": _("HTTP status"),
    "response_code": _("Response code"),
    "response_content": _("Content of the response"),
    "latency_ms": _("Latency (ms)"),
}
# Fields of every event that are no part of the entry's fields.
NOT_RECORDED = {"origin", "senders"}
TYPE_NAMES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    UUID: "UUID",
    NoneType: "null",
    Mapping: "object",
    dict: "object",
    Any: "any value",
}


@dataclass(frozen=True)
class Detail:
    """Annotation of a field in an entry's `detail`: its label, and the labels of its codes, if it has codes.

    `meaning` is an additional explanation for the document. `live_values` returns labels of codes that people maintain.
    `is_searched`: its value, and each of its words, finds the entry (`audit.terms`); never of what may be erased.
    """

    label: Text
    values: Mapping[str, Text] | type[Choices] | None = None
    meaning: str = ""
    live_values: Callable[[], Mapping[str, Text]] | None = None
    is_searched: bool = False

    def value_labels(self) -> Mapping[str, Text]:
        """Labels by code; empty if the field has no codes."""
        return dict(self.values.choices) if isinstance(self.values, type) else self.values or {}

    def labels_now(self) -> Mapping[str, Text]:
        """Labels by code, with those that people maintain; reads the database for these."""
        return self.live_values() if self.live_values else self.value_labels()


class Private(Detail):
    """Annotation of a field with free text about people, which may have to be erased."""


class EventField(NamedTuple):
    """A field of an event class. `meta` is None for a column."""

    name: str
    type: Any
    is_optional: bool
    default: Any
    meta: Detail | None

    @property
    def label(self) -> str:
        return str(self.meta.label if self.meta else COLUMNS[self.name])

    @property
    def is_private(self) -> bool:
        return isinstance(self.meta, Private)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base class of events. `action` is the name in the log."""

    action: ClassVar[Action]
    # Whether the log's index has its entries (`audit.terms`): not if another entry with the same terms always follows.
    is_indexed: ClassVar[bool] = True

    actor: str
    # Origin of the request on whose behalf a worker acts; None: the origin of the current request, if any.
    origin: Mapping[str, str] | None = None
    # Senders of the messages that it is about: they find the entry, and are not recorded in it.
    senders: Sequence[str] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "action" in cls.__dict__:
            if cls.action in EVENTS:
                names = f"{EVENTS[cls.action].__name__} and {cls.__name__}"
                raise TypeError(f"{cls.action.value} has two event classes: {names}")
            EVENTS[cls.action] = cls

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        """What happened, in one sentence in the reader's language, from the entry as it is stored.

        Raises KeyError for an entry without the fields that it names.
        """
        return gettext("%(actor)s: %(action)s") % {"actor": facts.actor, "action": facts.entry.action_label}

    @classmethod
    def summary(cls) -> str:
        """The first line of the class's docstring, for the document."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    def values(self) -> Iterator[tuple[EventField, Any]]:
        """Fields that are recorded, with their values for JSON."""
        for field in fields_of(type(self)):  # type: ignore[arg-type]  # a class is hashable, whatever its instances hold
            value = getattr(self, field.name)
            if not field.is_optional or value != field.default:
                yield field, as_json_value(value)


# Event classes by action.
EVENTS: dict[str, type[Event]] = {}


@cache
def fields_of(event: type[Event]) -> tuple[EventField, ...]:
    """Fields of an event class. Raises TypeError for a field without a label."""
    hints = get_type_hints(event, include_extras=True)
    described = []
    for field in fields(event):
        if field.name in NOT_RECORDED:
            continue
        hint = hints[field.name]
        kind, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        meta = next((extra for extra in extras if isinstance(extra, Detail)), None)
        if meta is None and field.name not in COLUMNS:
            raise TypeError(f"{event.__name__}.{field.name} has no label: annotate it with Detail or Private")
        described.append(EventField(field.name, kind, field.default is not MISSING, field.default, meta))
    return tuple(described)


def as_json_value(value: Any) -> Any:
    """Convert a field's value to what JSON can hold."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return value


def type_name(hint: Any) -> str:
    """Name of a type in the document."""
    if isinstance(hint, UnionType) or get_origin(hint) is Union:
        return " or ".join(type_name(part) for part in get_args(hint))
    if get_origin(hint) in (list, Sequence):
        (item,) = get_args(hint)
        return f"list of {type_name(item)}s"
    return TYPE_NAMES[get_origin(hint) or hint]


CHANGES = 'by field: `{"from", "to"}`, or of a secret only `"set"`, `"changed"` or `"removed"`'
DONE: Mapping[str, Text] = {"added": _("added"), "changed": _("changed"), "deleted": _("deleted")}


@dataclass(frozen=True, kw_only=True)
class RowChanged(Event):
    """A row was added, changed or deleted (`audit/recorded.py`)."""

    # Labels of secret fields, whose values are not recorded; the model has the other labels.
    labels: ClassVar[Mapping[str, Text]] = {}
    # The sentence for each value of `did`.
    sentences: ClassVar[Mapping[str, Text]] = {}

    app: str = ""
    did: Annotated[str, Detail(_("Change"), DONE)]
    id: Annotated[int, Detail(_("Number of the row"))]
    name: Annotated[Any, Detail(_("Name"), is_searched=True)]
    changes: Annotated[Mapping[str, Any], Detail(_("What changed"), meaning=CHANGES)]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = str(cls.sentences[facts.value("did")]) % {"actor": facts.actor, "name": facts.text("name")}
        if facts.value("did") != "changed":
            return said
        return gettext("%(what_happened)s (%(fields)s)") % {"what_happened": said, "fields": facts.changed_fields(cls)}


@dataclass(frozen=True, kw_only=True)
class LogRead(Event):
    """The whole log was read; by a worker, if a person asked for it in Django admin."""

    job: Annotated[UUID | None, Detail(_("Job"), is_searched=True)] = None


@dataclass(frozen=True, kw_only=True)
class LogExported(LogRead):
    """Entries of the log were exported."""

    action = Action.LOG_EXPORTED

    format: Annotated[str, Detail(_("Format"))]
    filters: Annotated[Mapping[str, Any], Detail(_("Filters"))]
    entries_up_to: Annotated[int | None, Detail(_("Entries up to no."))] = None
    follow: Annotated[bool, Detail(_("Goes on with each new entry"))] = False
    entries_after: Annotated[int | None, Detail(_("Entries after no."))] = None

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"actor": facts.actor, "format": str(facts.value("format")).upper()}
        if facts.has("filters"):
            return gettext("%(actor)s exported the entries of a filter as %(format)s") % said
        return gettext("%(actor)s exported the audit log as %(format)s") % said


@dataclass(frozen=True, kw_only=True)
class LogDownloaded(Event):
    """The file of an export was downloaded."""

    action = Action.LOG_DOWNLOADED

    job: Annotated[UUID, Detail(_("Job"), is_searched=True)]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        return gettext("%(actor)s downloaded an export of the audit log") % {"actor": facts.actor}


@dataclass(frozen=True, kw_only=True)
class LogVerified(LogRead):
    """The log was verified; a problem of null says that it is intact."""

    action = Action.LOG_VERIFIED

    problem: Annotated[str | None, Detail(_("Problem"))]
    checkpoints: Annotated[int, Detail(_("Checkpoints given beside the console’s own"))]
    entries: Annotated[int | None, Detail(_("Entries"))] = None
    head: Annotated[str | None, Detail(_("Hash of the last entry"))] = None
    key_problem: Annotated[str | None, Detail(_("Problem of the signing key"), AuditAlarm.Problem)] = None

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"actor": facts.actor}
        if facts.value("problem"):
            return gettext("%(actor)s verified the audit log: it is broken") % said
        if facts.has("key_problem"):
            return gettext("%(actor)s started a verification of the audit log: the signing key cannot be used") % said
        return gettext("%(actor)s verified the audit log: it is intact") % said
