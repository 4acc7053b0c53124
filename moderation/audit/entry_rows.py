"""An entry's fields as labelled rows, in the order of its event class and in the reader's language.

A key that no event class knows, as entries of version 1 may have, keeps its name.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from moderation.audit.events import EVENTS, EventField, RowChanged, fields_of
from moderation.audit.ledger.problems import translated
from moderation.audit.models import Action, AuditEntry
from moderation.audit.recorded import Recorded
from moderation.read_only_admin import pretty, pretty_text

# Keys of `detail` that the page shows elsewhere: the request's origin, and the hash of the private part.
ELSEWHERE = {"from", "private"}
# Longer lists are shown as JSON, one value on each line.
MAX_ON_ONE_LINE = 20
SCALARS = (str, int, float, bool, type(None))


class Row(NamedTuple):
    """Label and value of a field. `is_key`: the label is the stored key itself."""

    label: str
    value: SafeString | str
    is_key: bool = False


def detail_rows(entry: AuditEntry) -> list[Row]:
    """The rows of an entry's `detail`."""
    stored = {key: value for key, value in entry.detail.items() if key not in ELSEWHERE}
    return list(rows_of(entry, stored))


def private_rows(entry: AuditEntry) -> list[Row]:
    """The rows of an entry's private part; none if it was erased or does not exist."""
    content = entry.private.content if hasattr(entry, "private") else ""
    if not content:
        return []
    try:
        stored = json.loads(content)
    except (ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        # Only a change in the database itself can cause this.
        return [Row("content", pretty_text(content), is_key=True)]
    return list(rows_of(entry, stored))


def rows_of(entry: AuditEntry, stored: Mapping[str, Any]) -> Iterator[Row]:
    """A row for each key of `stored`, and one for each change of a RowChanged event."""
    event = EVENTS.get(entry.action)
    fields = {field.name: field for field in fields_of(event)} if event else {}  # type: ignore[arg-type]
    declared = [name for name in fields if name in stored]
    for name in [*declared, *(name for name in stored if name not in fields)]:
        value, field = stored[name], fields.get(name)
        if field is None:
            yield Row(printable(name), shown(value), is_key=True)
        elif name == "changes" and event and issubclass(event, RowChanged) and isinstance(value, dict):
            yield from change_rows(event, value)
        elif entry.action == Action.LOG_VERIFIED and name == "problem" and value:
            yield Row(field.label, translated(str(value)))
        else:
            yield Row(field.label, shown(value, labels_of(field)))


def labels_of(field: EventField) -> Mapping[str, Any]:
    """Labels of a field's codes."""
    return field.meta.labels_now() if field.meta else {}


def shown(value: Any, labels: Mapping[str, Any] | None = None) -> SafeString | str:
    """Format a value for display."""
    if value is None or value == "":
        return "—"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, str):
        return printable(str((labels or {}).get(value, value)))
    if isinstance(value, SCALARS):
        return str(value)
    if is_short_list(value):
        return ", ".join(str(shown(item)) for item in value) or "—"
    if isinstance(value, dict) and all(isinstance(item, SCALARS) or is_short_list(item) for item in value.values()):
        lines = ((printable(key), shown(item)) for key, item in value.items())
        return format_html_join("", '<span class="quiet" translate="no">{}</span> {}<br>', lines) or "—"
    return pretty(value)


def printable(text: str) -> str:
    """`text` with lone surrogates escaped, which cannot be encoded in a page."""
    return text.encode(errors="backslashreplace").decode()


def is_short_list(value: Any) -> bool:
    """Whether a value is a short list without nested lists or objects."""
    return isinstance(value, list) and len(value) <= MAX_ON_ONE_LINE and all(isinstance(x, SCALARS) for x in value)


def change_rows(event: type[RowChanged], changes: Mapping[str, Any]) -> Iterator[Row]:
    """A row for each changed field: the values before and after, or for a secret, the kind of change."""
    secrets = {"set": _("set"), "changed": _("changed"), "removed": _("removed")}
    for name, change in changes.items():
        label = label_of_changed(event, name)
        name = printable(name)
        if isinstance(change, dict) and change.keys() == {"from", "to"}:
            before, after = shown(change["from"]), shown(change["to"])
            yield Row(label or name, format_html("{} → {}", before, after), is_key=not label)
        else:
            yield Row(label or name, shown(change, secrets), is_key=not label)


def label_of_changed(event: type[RowChanged], name: str) -> str:
    """The model's label of a changed field; empty if the model no longer has it."""
    if name in event.labels:
        return str(event.labels[name])
    models: list[type[Model]] = [model for model in Recorded.__subclasses__() if model.recorded_as == event.action]
    for model in models:
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            continue
        return str(getattr(field, "verbose_name", ""))
    return ""
