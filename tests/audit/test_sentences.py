"""An entry of the log in one sentence, made by its event class."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from moderation.accounts.events import SignInFailed
from moderation.audit.events import EVENTS, RowChanged
from moderation.audit.models import Action, AuditEntry
from moderation.audit.request_context import WORKER
from moderation.audit.sentences import Labels, sentence_of
from moderation.audit.services import record as record_event
from recall.events import CallAnswered, CallUnanswered, CallVerified, RecallRequested, RecallSettled, RecallStopped

from .audit_list import GROUP, LIST, PAIR, entry

pytestmark = pytest.mark.django_db
ABOUT: dict[str, Any] = {
    "app": "default",
    "conversation": GROUP,
    "recall": UUID("00000000-0000-4000-8000-000000000001"),
}
CALL: dict[str, Any] = {**ABOUT, "actor": "mo", "batch": 0, "attempt": 1, "timestamps": [5, 6]}


def said(written: AuditEntry) -> str:
    return sentence_of(AuditEntry.objects.get(pk=written.pk), Labels())


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (
            RecallRequested(actor="mo", **ABOUT, timestamps=[5, 6], reason="spam"),
            "mo requested the recall of 2 messages in group-1: {reason}",
        ),
        (
            RecallRequested(actor="mo", **{**ABOUT, "conversation": PAIR}, timestamps=[5], reason="gone"),
            "mo requested the recall of 1 message in user-a ↔ user-b: gone",
        ),
        (RecallRequested(actor="lea", **ABOUT, timestamps=[5], again=True), "lea retried 1 message in group-1"),
        (
            CallAnswered(**CALL, http_status=200, response_code=200, response_content="OK", outcome="accepted"),
            "GoEasy answered request 1 of mo’s recall in group-1, code 200: accepted",
        ),
        (
            CallAnswered(**CALL, http_status=502, response_code=None, response_content="", outcome="unknown"),
            "GoEasy answered request 1 of mo’s recall in group-1, no code: unknown",
        ),
        (CallUnanswered(**CALL, outcome="unknown"), "No answer to request 1 in group-1: unknown"),
        (
            CallVerified(**CALL, gone=[5], still_visible=[6]),
            "History of group-1 was read for request 1: removed 1, still visible 1, cannot be verified 0",
        ),
        (CallVerified(**CALL), "mo: recall verified"),
        (
            RecallSettled(actor="mo", **ABOUT, timestamps=[5], batches=[0], send_again=False, note="no"),
            "mo decided to leave 1 message in group-1 as they are",
        ),
        (
            RecallStopped(actor=WORKER, **ABOUT, reason="key_refused"),
            "The recall in group-1 was stopped: GoEasy refused the key",
        ),
        (
            SignInFailed(actor="(not signed in)", account=None, why="credentials"),
            "Somebody tried to sign in with a user name that does not exist",
        ),
    ],
)
def test_an_entry_says_who_did_what_where(reason: Any, event: Any, sentence: str) -> None:
    assert said(record_event(event)) == sentence.replace("{reason}", str(reason))


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_a_sentence_is_there_for_whatever_an_entry_holds(language: str) -> None:
    details: list[dict[str, Any]] = [
        {},
        {"did": "merged", "changes": 7, "name": None},
        {"did": "changed", "name": ["a"], "changes": {"gone": {}}},
        {"from": "here", "account": {"a": 1}, "gone": 3, "outcome": ["x"], "reason": {}, "problem": 3, "step": None},
        {"number": "\ud800" * 300, "reader": "\ud800", "reason": "\ud800", "page": "\ud800", "file": "x" * 9_000},
    ]
    for action in Action:
        for detail in details:
            with translation.override(language):
                sentence = sentence_of(AuditEntry(actor="mo", action=action, detail=detail), Labels())
            assert 2 < len(sentence) < 400
            assert "%(" not in sentence
            sentence.encode()


def test_an_entry_of_an_action_of_a_newer_console_names_actor_and_action() -> None:
    assert said(entry(action="recall.undone")) == "mo: recall.undone"


def test_each_event_class_makes_a_sentence_of_its_own() -> None:
    generic = [event.__name__ for event in EVENTS.values() if "sentence" not in "".join(map(str, own(event)))]
    assert generic == []


def own(event: type) -> list[str]:
    """What an event class and its bases define, the base of all left out."""
    if issubclass(event, RowChanged):
        return ["sentence"] if {"added", "changed", "deleted"} == event.sentences.keys() else []
    return [name for base in event.__mro__[:-2] for name in vars(base)]


def test_the_list_reads_the_labels_of_reasons_once(reader: Client, reason: Any) -> None:
    for number in range(5):
        record_event(RecallRequested(actor="mo", **ABOUT, timestamps=[number], reason="spam"))
    with CaptureQueriesContext(connection) as queries:
        page = reader.get(LIST).content.decode()
    assert page.count(f"mo requested the recall of 1 message in group-1: {reason}") == 5
    assert sum('FROM "recall_recallreason"' in each["sql"] for each in queries) == 1
    assert not any('"audit_auditentry"."timestamps" FROM' in each["sql"] for each in queries)
