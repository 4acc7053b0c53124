"""The event classes: one for each action, a label for every field, and the place of each field in an entry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest
from django.utils import translation

from moderation.audit import format_document
from moderation.audit.events import COLUMNS, EVENTS, Detail, Event, LogDownloaded, Private, fields_of
from moderation.audit.models import SCHEMA, Action, AuditEntry
from moderation.audit.services import TooDeepToRecord, record

from .event_calls import passed_fields

ROOT = Path(__file__).resolve().parents[2]
JOB = UUID("00000000-0000-4000-8000-000000000001")
ALL = sorted(EVENTS)


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Event]]:
    """A temporary event class, in place of that of LOG_DOWNLOADED."""
    monkeypatch.delitem(EVENTS, Action.LOG_DOWNLOADED)

    @dataclass(frozen=True, kw_only=True)
    class Sample(Event):
        """A sample."""

        action = Action.LOG_DOWNLOADED

        app: str
        timestamps: tuple[int, ...] = ()
        job: Annotated[UUID, Detail("Job")]
        count: Annotated[int, Detail("Count", {"1": "one"})] = 0
        late: Annotated[bool, Detail("Late")] = False
        note: Annotated[str, Private("Note")] = ""

    yield Sample
    monkeypatch.setitem(EVENTS, Action.LOG_DOWNLOADED, LogDownloaded)


def test_every_action_has_an_event_class() -> None:
    missing = [action for action in Action.values if action not in EVENTS]
    assert not missing, f"These actions have no event class in any events.py: {', '.join(missing)}."
    assert set(EVENTS) == set(Action.values)


def test_every_event_class_is_declared_in_the_events_module_of_an_app() -> None:
    assert {event.__module__.rpartition(".")[2] for event in EVENTS.values()} == {"events"}


@pytest.mark.parametrize("action", ALL)
def test_every_field_has_a_label_and_a_type_that_the_document_names(action: str) -> None:
    for field in fields_of(EVENTS[action]):
        assert field.label.strip(), f"{action}: {field.name} has an empty label."
        assert format_document.type_name(field.type)
    assert EVENTS[action].summary().endswith(".")


def test_a_field_without_a_label_is_refused_by_its_name() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Unlabelled(Event):
        secret_plan: str

    with pytest.raises(TypeError, match=r"Unlabelled\.secret_plan has no label"):
        fields_of(Unlabelled)


def test_a_second_class_of_one_action_is_refused() -> None:
    with pytest.raises(TypeError, match=r"audit\.downloaded has two event classes: LogDownloaded and Second"):

        class Second(Event):
            action = Action.LOG_DOWNLOADED

    assert EVENTS[Action.LOG_DOWNLOADED] is LogDownloaded


@pytest.mark.django_db
def test_each_field_goes_to_its_column_to_the_detail_or_to_what_can_be_erased(sample: Any) -> None:
    entry = record(sample(actor="mo", app="default", timestamps=(5, 6), job=JOB, count=1, note="垃圾广告"))
    entry = AuditEntry.objects.get(pk=entry.pk)
    assert (entry.actor, entry.action, entry.app, entry.timestamps) == ("mo", "audit.downloaded", "default", [5, 6])
    committed = entry.detail.pop("private")
    assert entry.detail == {"job": str(JOB), "count": 1}
    assert json.loads(entry.private.content) == {"note": "垃圾广告"}
    assert len(committed) == 64
    assert entry.schema == SCHEMA


@pytest.mark.django_db
def test_an_optional_field_is_left_out_while_it_has_its_default(sample: Any) -> None:
    entry = record(sample(actor="mo", app="", job=JOB, note=""))
    assert entry.detail == {"job": str(JOB)}
    assert entry.timestamps is None
    assert not hasattr(entry, "private")


@pytest.mark.django_db
def test_the_origin_that_a_worker_was_given_is_recorded(sample: Any) -> None:
    origin = {"address": "192.0.2.1", "user_agent": "x", "request_id": "12345678"}
    entry = record(sample(actor="mo", app="", job=JOB, origin=origin))
    assert entry.detail["from"] == origin


@pytest.mark.django_db
def test_an_event_that_nests_too_deeply_is_refused(sample: Any) -> None:
    deep: Any = []
    for _level in range(200):
        deep = [deep]
    with pytest.raises(TooDeepToRecord, match=r"audit\.downloaded: it nests deeper"):
        record(sample(actor="mo", app="", job=JOB, count=deep))
    assert not AuditEntry.objects.exists()


def test_the_document_is_what_the_event_classes_make() -> None:
    problems = list(format_document.differences(format_document.PATH.read_text(encoding="utf-8")))
    assert not problems, "\n".join(problems)


def test_an_event_that_the_document_lacks_is_named() -> None:
    text = format_document.document()
    without = text.replace("### recall.sending\n", "")
    assert next(format_document.differences(without)) == (
        "docs/audit-format.md does not list the event recall.sending. Run `manage.py audit_format`."
    )
    changed = text.replace("| `evidence` |", "| `proof` |", 1)
    assert "docs/audit-format.md does not describe as it is the event recall.sending." in next(
        format_document.differences(changed)
    )
    added = f"{text}\n### recall.forgotten\n"
    assert "lists what is not the event recall.forgotten" in next(format_document.differences(added))
    assert list(format_document.differences(text)) == []


def test_the_document_is_english_whatever_language_is_active() -> None:
    english = format_document.document()
    with translation.override("zh-hans"):
        assert format_document.document() == english


def test_every_column_of_an_event_is_one_of_an_entry() -> None:
    names = {field.name for field in AuditEntry._meta.get_fields()} | {"conversation"}
    assert set(COLUMNS) <= names


def test_every_field_of_an_event_is_recorded_somewhere() -> None:
    lineage = {event: [base.__name__ for base in event.__mro__] for event in EVENTS.values()}
    passed = passed_fields({name for names in lineage.values() for name in names} - {"Event", "object"})
    forgotten = [
        f"{event.__name__}.{field.name}"
        for event, names in lineage.items()
        for field in fields_of(event)
        if not any(field.name in passed[name] for name in names)
    ]
    assert not forgotten, f"Declared and never recorded: {', '.join(forgotten)}"


def test_security_md_tells_when_each_action_is_recorded() -> None:
    document = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    missing = [
        action
        for action in Action.values
        if f"`{action}`" not in document and f"`{action.partition('.')[0]}.…`" not in document
    ]
    assert not missing, f"docs/security.md, “What is recorded”, lacks {missing}"
