"""The search index of the log: entries by message timestamp, sender, request id and searched words."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from moderation.audit.events import EVENTS, fields_of
from moderation.audit.models import Action, AuditEntry, AuditTerm
from moderation.audit.services import record as record_event
from moderation.audit.terms import terms_of
from recall import services
from recall.events import RecallRequested, RecallStopped

from .audit_list import GROUP, LIST, PAIR, entry, listed

pytestmark = pytest.mark.django_db
RECALL = UUID("00000000-0000-4000-8000-000000000001")
FIRST = 1_700_000_000_000


def requested(*timestamps: int, senders: tuple[str, ...] = (), **more: Any) -> AuditEntry:
    about = {"actor": "mo", "app": "default", "conversation": GROUP, "recall": RECALL, **more}
    return record_event(RecallRequested(timestamps=timestamps, senders=senders, **about))


def terms(entry: AuditEntry) -> set[str]:
    return set(AuditTerm.objects.filter(entry=entry).values_list("term", flat=True))


def test_an_entry_is_indexed_by_its_timestamps_senders_and_searched_fields_and_not_by_what_may_be_erased() -> None:
    written = requested(FIRST, FIRST + 1, senders=("user-a",), reason="spam", note="call 555-1234")
    assert terms(written) == {f"t:{FIRST}", f"t:{FIRST + 1}", "s:user-a", "w:spam"}
    assert "senders" not in written.detail


def test_no_field_that_may_be_erased_is_searched() -> None:
    fields = [field for event in EVENTS.values() for field in fields_of(event)]  # type: ignore[arg-type]
    assert not [field.name for field in fields if field.is_private and field.meta and field.meta.is_searched]


def test_an_entry_is_found_by_the_id_of_its_request(reader: Client, application: Any) -> None:
    reader.get("/conversations/?q=user-a", headers={"X-Request-ID": "request-4711"})
    (found,) = listed(reader, request_id="request-4711")
    assert AuditEntry.objects.get(pk=found).action == Action.SEARCHED
    assert listed(reader, find="request-4711") == [found]


def test_the_terms_of_an_entry_fail_with_it() -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        requested(FIRST)
        raise DatabaseError
    assert not AuditTerm.objects.exists()


@pytest.mark.parametrize("value", ["\ud800", "a\0b", "x" * 5_000, ["a"] * 3, {"a": 1}, 7, None])
def test_any_stored_value_can_be_indexed(value: Any) -> None:
    made = AuditEntry(action=Action.REQUESTED, detail={"reason": value, "from": value})
    for each in terms_of(made, ["\ud800", "", "emoji 🙂"]):
        each.encode()
        assert "\0" not in each
        assert len(each) <= 300


def test_a_request_is_found_by_its_outcome_alone(application: Any) -> None:
    # Its entry before would be found by the same timestamps, and each request waits for its index.
    sending, answered = (AuditEntry(action=action, timestamps=[FIRST]) for action in (Action.SENDING, Action.ANSWERED))
    assert terms_of(sending) == set()
    assert terms_of(answered) == {f"t:{FIRST}"}


@pytest.fixture
def recalls(application: Any) -> dict[str, int]:
    return {
        "one": requested(FIRST, FIRST + 1, senders=("user-a",), reason="spam").pk,
        "two": requested(FIRST + 1, FIRST + 2, senders=("user-a", "user-b"), actor="lea").pk,
        "answered": entry(action=Action.ANSWERED, timestamps=[FIRST + 2], conversation=GROUP, recall=RECALL).pk,
        "stopped": record_event(
            RecallStopped(actor="mo", app="default", conversation=PAIR, recall=RECALL, reason="key_refused")
        ).pk,
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"timestamp": FIRST}, "one"),
        ({"timestamp": f"{FIRST}, {FIRST + 2}"}, "answered two one"),
        ({"timestamp": FIRST + 1, "actor": "lea"}, "two"),
        ({"timestamp": FIRST + 2, "action": ["recall.answered"]}, "answered"),
        ({"timestamp": FIRST + 1, "sender": "user-b"}, "two"),
        ({"timestamp": FIRST + 1, "since": "2100-01-01T00:00"}, ""),
        ({"timestamp": FIRST + 1, "recall": RECALL}, "two one"),
        ({"timestamp": FIRST + 9}, ""),
        ({"sender": "user-a"}, "two one"),
        ({"sender": "USER-A"}, ""),
        ({"request_id": "nobody-has-it"}, ""),
        ({"find": FIRST}, "one"),
        ({"find": f" {FIRST} "}, "one"),
        ({"find": "lea"}, "two"),
        ({"find": "SPAM"}, "one"),
        ({"find": "key_refused"}, "stopped"),
        ({"find": "group-1", "timestamp": FIRST + 2}, "answered two"),
        ({"find": "user-a"}, "stopped two one"),
        ({"find": "user-b ↔ user-a"}, "stopped"),
        ({"find": str(RECALL), "action": ["recall.answered"]}, "answered"),
        ({"find": "spam nothing"}, ""),
        ({"find": "🙂"}, ""),
    ],
)
def test_entries_are_found_newest_first(
    reader: Client, moderator: Any, lead: Any, recalls: dict[str, int], query: dict[str, Any], expected: str
) -> None:
    assert listed(reader, **query) == [recalls[name] for name in expected.split()]


@pytest.mark.parametrize(
    "query",
    [
        {"timestamp": "yesterday"},
        {"timestamp": "1" * 20},
        {"timestamp": ",".join("1" * 21)},
        {"find": "x" * 301},
        {"sender": "x" * 256},
    ],
)
def test_what_cannot_be_searched_for_is_refused(reader: Client, recalls: dict[str, int], query: dict[str, Any]) -> None:
    page = reader.get(LIST, query)
    assert page.context["cl"].result_list == []
    assert "a filter cannot be understood" in page.content.decode()


def test_pages_of_what_is_found_go_back_and_forth(reader: Client, application: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("moderation.audit.admin.AuditEntryAdmin.list_per_page", 2)
    first, *_between, last = [requested(FIRST).pk for _ in range(5)]
    pages = [listed(reader, timestamp=FIRST)]
    for _ in range(2):
        pages.append(listed(reader, timestamp=FIRST, before=pages[-1][-1]))
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [pages[0][0], pages[-1][-1]] == [last, first]
    assert listed(reader, timestamp=FIRST, after=pages[2][0]) == pages[1]


@pytest.mark.parametrize(
    "query",
    [
        {"timestamp": FIRST},
        {"sender": "user-a", "action": ["recall.requested", "recall.answered"], "since": "2020-01-01T00:00"},
        {"find": "spam"},
        {"timestamp": FIRST, "sender": "user-a", "find": "spam"},
    ],
)
def test_an_index_answers_what_is_found_in_the_lists_order(
    reader: Client, application: Any, query: dict[str, Any]
) -> None:
    for number in range(200):
        requested(FIRST + number % 2, senders=("user-a",), reason="spam")
    last = requested(FIRST, senders=("user-a",), reason="spam")
    postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        if postgresql:
            # So few rows are read sooner than any index; sorting stays allowed, and costs more than the index's order.
            cursor.execute("ANALYZE audit_auditterm, audit_auditentry")
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
    for page in ({}, {"before": last.pk}):
        with CaptureQueriesContext(connection) as queries:
            assert listed(reader, **query, **page)
        statements = [each["sql"] for each in queries if "ORDER BY 1 DESC, 2 DESC LIMIT 101" in each["sql"]]
        assert statements
        for sql in statements:
            plan = explain(sql)
            assert not re.search(r"Sort\b|TEMP B-TREE|Seq Scan", plan), (sql, plan)
            if 'FROM "audit_auditterm"' in sql.partition("WHERE")[0]:
                assert "audit_auditterm" in plan


def explain(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"{'EXPLAIN' if connection.vendor == 'postgresql' else 'EXPLAIN QUERY PLAN'} {sql}")
        return "\n".join(str(part) for row in cursor.fetchall() for part in row)


def test_a_migration_indexes_earlier_entries_as_new_ones_are(
    moderator: Any, reason: Any, make_message: Callable[..., Any], private: Any
) -> None:
    for number, sender in enumerate(["user-a", "user-b", "user-a"]):
        make_message(private, FIRST + number, senderId=sender)
    services.request_recall(
        conversation=private,
        actor=moderator,
        reason=reason,
        note="",
        timestamps=[FIRST, FIRST + 1],
        recaller=None,
        submission=uuid4(),
        grace_seconds=0,
    )
    entry(timestamps=[FIRST], detail={"from": {"request_id": "request-1"}, "outcome": "accepted"})
    entry(action=Action.SIGN_IN_FAILED, detail={"account": "Zhang Wei", "why": "credentials"})
    entry(action=Action.TEXT_ERASED, detail={"sender": "user-b", "reason": "ticket 4711"})
    entry(action=Action.KEYS_ROTATED, detail={"applications": ["default", "second"]})
    written = set(AuditTerm.objects.values_list("term", "at", "entry"))
    AuditTerm.objects.all().delete()
    importlib.import_module("moderation.audit.migrations.0002_terms").fill(apps, SimpleNamespace())
    assert set(AuditTerm.objects.values_list("term", "at", "entry")) == written
    assert {f"t:{FIRST}", "s:user-a", "s:user-b", "r:request-1", "w:wei", "w:second"} <= {each for each, *_ in written}


def test_the_migration_searches_the_fields_that_the_classes_name() -> None:
    searched = {
        str(action): tuple(field.name for field in fields_of(event) if field.meta and field.meta.is_searched)  # type: ignore[arg-type]
        for action, event in EVENTS.items()
    }
    frozen = importlib.import_module("moderation.audit.migrations.0002_terms").SEARCHED
    assert {action: names for action, names in searched.items() if action in frozen} == {
        action: (("sender", *names) if action == "text.erased" else names) for action, names in frozen.items()
    }
