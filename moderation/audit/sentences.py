"""An entry in one sentence: who did what, where, and what GoEasy answered, in the reader's language.

Each event class makes its own sentence from the entry as it is stored (`Event.sentence`). For an entry that it does not
fit, such as one of version 1 or of a newer console, the sentence names the actor and the action.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from moderation.audit.entry_rows import label_of_changed
from moderation.audit.events import EVENTS, RowChanged, Text, fields_of
from moderation.audit.models import AuditEntry
from moderation.audit.request_context import COMMAND_LINE, NOBODY, WORKER

MAX_VALUE = 120


class Labels:
    """Labels of the codes in the fields of event classes; those that people maintain are read once."""

    def __init__(self) -> None:
        self._by_field: dict[tuple[str, str], Mapping[str, Text]] = {}

    def of(self, action: str, name: str) -> Mapping[str, Text]:
        if (action, name) not in self._by_field:
            fields = fields_of(EVENTS[action])  # type: ignore[arg-type]  # a class is hashable
            meta = next((field.meta for field in fields if field.name == name), None)
            self._by_field[action, name] = meta.labels_now() if meta else {}
        return self._by_field[action, name]


class Facts:
    """What a sentence can name of a stored entry. Reading what the entry lacks raises KeyError."""

    def __init__(self, entry: AuditEntry, labels: Labels) -> None:
        self.entry, self._labels = entry, labels

    @property
    def actor(self) -> str:
        """The user name, or what acted without an account."""
        return actor_name(self.entry.actor)

    @property
    def where(self) -> str:
        """The ids of the conversation at GoEasy."""
        if not (ids := self.entry.conversation_ids):
            raise KeyError("conversation")
        return ids

    @property
    def count(self) -> int:
        """Number of the timestamps, of which a list has only the number (`timestamp_count`)."""
        if "timestamp_count" in (known := self.entry.__dict__):
            number: int | None = known["timestamp_count"]
        else:
            number = len(self.entry.timestamps or ())
        if not number:
            raise KeyError("timestamps")
        return number

    @property
    def messages(self) -> str:
        return ngettext("%(number)s message", "%(number)s messages", self.count) % {"number": self.count}

    @property
    def call(self) -> int:
        """The request's number within its recall, from 1."""
        if self.entry.batch is None:
            raise KeyError("batch")
        return self.entry.batch + 1

    @property
    def address(self) -> str:
        """The address that the request came from; empty in background work."""
        origin = self.entry.detail.get("from")
        return str(origin.get("address", "")) if isinstance(origin, dict) else ""

    def has(self, name: str) -> bool:
        """Whether the entry has a value in this field."""
        return bool(self.entry.detail.get(name))

    def value(self, name: str) -> Any:
        """The value of a field, as it is stored."""
        return self.entry.detail[name]

    def text(self, name: str) -> str:
        """The value of a field as text on one line: its label, if it is a code."""
        value = self.value(name)
        if not isinstance(value, str):
            return shortened(value if isinstance(value, int) else json.dumps(value, ensure_ascii=False))
        return shortened(self._labels.of(self.entry.action, name).get(value, value))

    def changed_fields(self, event: type[RowChanged]) -> str:
        """The names of the fields that changed."""
        return ", ".join(label_of_changed(event, name) or shortened(name) for name in self.value("changes"))

    def number(self, name: str) -> int:
        """Number of the items of a field's list; 0 if the entry has none."""
        value = self.entry.detail.get(name)
        if value is not None and not isinstance(value, list):
            raise KeyError(name)
        return len(value or ())


def shortened(value: object) -> str:
    """A value on one line, cut to MAX_VALUE characters, without what a page cannot contain."""
    text = " ".join(str(value).split()).encode(errors="backslashreplace").decode()
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def actor_name(actor: str) -> str:
    """The name of an actor in a sentence."""
    names = {WORKER: _("The worker"), COMMAND_LINE: _("The command line"), NOBODY: _("Somebody not signed in")}
    return names.get(actor, actor)


def sentence_of(entry: AuditEntry, labels: Labels) -> str:
    """What happened, in one sentence. Never raises."""
    event = EVENTS.get(entry.action)
    if event:
        try:
            return event.sentence(Facts(entry, labels))
        except (KeyError, TypeError, ValueError, AttributeError):
            # Not of the form that this version writes.
            pass
    return _("%(actor)s: %(action)s") % {"actor": actor_name(entry.actor), "action": entry.action_label}
