"""The main job under each behaviour that GoEasy's documentation leaves open, over real HTTP.

Somebody opens a conversation, its history is read whole, messages are recalled, history is read for what became of
them, and the log tells of it. docs/goeasy-assumptions.md lists the behaviours.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from moderation.archive.models import Conversation, Message
from moderation.audit.models import AuditEntry
from moderation.goeasy.client import Private
from moderation.goeasy.sandbox import Behaviour, Sandbox
from moderation.outbox.sender import send_due
from recall import decisions, services, verify
from recall.models import Recall, RecallBatch

pytestmark = pytest.mark.django_db(transaction=True)

PAIR = {"kind": "private", "user_a": "10086", "user_b": "10010"}
MESSAGES = 45
# More than one call, from the middle of three pages.
RECALLED = slice(10, 32)

# Behaviours under which everything works: calls are accepted, and messages are verified as gone.
USUAL: list[dict[str, Any]] = [
    {},
    {"http_200_always": True},
    {"recall_again_code": 409},
    {"send_needs_data": True},
    {"history_drops_recalled": True},
    {"history_filters_after_limit": True},
    {"history_marks_recalled_as": "1"},
    {"history_marks_recalled_as": '"true"'},
    {"history_marks_recalled_as": "rc"},
    {"history_marks_recalled_as": "recaller"},
    {"recalled_stripped": True},
    {"page_cap": 20},
    {"page_cap": 10},
    {"cursor_inclusive": True},
    {"history_oldest_first": True},
    {"timestamps_as_text": True},
    {"numeric_ids": True},
    {"payload_as_text": True},
    {"numeric_ids": True, "timestamps_as_text": True, "payload_as_text": True, "recalled_stripped": True},
]


def name_of(behaviour: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in behaviour.items()) or "as documented"


@pytest.fixture
def goeasy(tmp_path: Path, application: Any, settings: Any) -> Iterator[Sandbox]:
    """A sandbox with a conversation of 45 messages, a second apart."""
    with Sandbox(data=tmp_path / "goeasy.sqlite3") as sandbox:
        settings.GOEASY_APPKEY, settings.GOEASY_REST_HOST = sandbox.appkey, sandbox.url
        settings.RECALL_VERIFY_AFTER = 0
        first = time.time_ns() // 1_000_000 - 3_600_000
        sandbox.add_messages(
            PAIR,
            [
                {
                    "timestamp": first + 1000 * number,
                    "senderId": PAIR["user_a"] if number % 2 else PAIR["user_b"],
                    "type": "text",
                    "payload": {"text": f"第 {number} 条"},
                }
                for number in range(MESSAGES)
            ],
        )
        yield sandbox


@pytest.fixture
def timestamps(goeasy: Sandbox) -> list[int]:
    """Timestamps of the messages (ms), oldest first."""
    return sorted(message["timestamp"] for message in goeasy.messages(PAIR))


@pytest.fixture
def conversation(application: Any) -> Conversation:
    return Conversation.objects.open(application, Private(PAIR["user_a"], PAIR["user_b"]))


def open_page(conversation: Conversation, moderator: Any) -> str:
    """Open the conversation's page, which reads its history."""
    browser = Client()
    browser.force_login(moderator)
    response = browser.get(conversation.get_absolute_url())
    assert response.status_code == 200
    return response.content.decode()


def backfill() -> dict[str, Any]:
    """Run `manage.py backfill` on the conversation. Returns its JSON report."""
    out = StringIO()
    with contextlib.suppress(SystemExit):
        call_command("backfill", user_a=PAIR["user_a"], user_b=PAIR["user_b"], json=True, stdout=out, stderr=StringIO())
    document: dict[str, Any] = json.loads(out.getvalue())
    return document


def recall(conversation: Conversation, moderator: Any, reason: Any, timestamps: list[int]) -> Recall:
    """Recall these messages and send all calls."""
    made = services.request_recall(
        conversation=conversation,
        actor=moderator,
        reason=reason,
        note="",
        timestamps=timestamps,
        recaller=None,
        submission=uuid.uuid4(),
        grace_seconds=0,
    )
    send_due(made.application)
    made.refresh_from_db()
    return made


def look(recall: Recall) -> list[str]:
    """Run the due verifications. Returns the verification states of the recall's messages."""
    recall.batches.filter(check_at__isnull=False).update(check_at=timezone.now())
    for _round in range(3):
        verify.check_due()
    return sorted(set(recall.items.values_list("verification", flat=True)))


def logged(recall: Recall) -> list[str]:
    return sorted(set(AuditEntry.objects.filter(recall=recall.pk).values_list("action", flat=True)))


@pytest.mark.parametrize("behaviour", USUAL, ids=name_of)
def test_the_main_job_works_under_this_behaviour(
    behaviour: dict[str, Any],
    goeasy: Sandbox,
    conversation: Conversation,
    timestamps: list[int],
    moderator: Any,
    reason: Any,
) -> None:
    goeasy.behaviour = Behaviour.parse(behaviour)
    page = open_page(conversation, moderator)
    assert f"第 {MESSAGES - 1} 条" in page
    document = backfill()
    assert (document["problems"], document["crowded"]) == ([], [])
    assert list(Message.objects.order_by("timestamp").values_list("timestamp", flat=True)) == timestamps
    assert {message.sender_id for message in Message.objects.all()} == {PAIR["user_a"], PAIR["user_b"]}
    made = recall(conversation, moderator, reason, timestamps[RECALLED])
    assert (made.state, {batch.state for batch in made.batches.all()}) == ("finished", {"accepted"})
    assert look(made) == ["gone"]
    assert logged(made) == ["recall.answered", "recall.requested", "recall.sending", "recall.verified"]
    gone = {message["timestamp"] for message in goeasy.messages(PAIR) if message.get("recalled")}
    assert gone == set(timestamps[RECALLED])
    assert len(goeasy.calls("recall")) == 2
    # What was recalled before the archive had read it is read as far as history tells of it.
    assert backfill()["problems"] == []


@pytest.mark.parametrize(
    "behaviour",
    [{"recall_code": 408}, {"recall_code": 500, "http_200_always": True}, {"recall_code": 507}],
    ids=name_of,
)
def test_a_recall_that_is_answered_with_a_failure_after_its_effect_is_unknown_until_history_settles_it(
    behaviour: dict[str, Any],
    goeasy: Sandbox,
    conversation: Conversation,
    timestamps: list[int],
    moderator: Any,
    reason: Any,
) -> None:
    goeasy.behaviour = Behaviour.parse(behaviour)
    backfill()
    made = recall(conversation, moderator, reason, timestamps[20:25])
    batch = made.batches.get()
    assert batch.state == RecallBatch.State.UNKNOWN
    assert len(goeasy.calls("recall")) == 1
    assert look(made) == ["gone"]
    batch.refresh_from_db()
    assert (batch.state, batch.settlement) == ("unknown", "gone")


@pytest.mark.parametrize(
    "behaviour", [{"recall_ignores_older_than": 60.0}, {"recall_reports_failures": True}], ids=name_of
)
def test_a_recall_without_effect_is_recognised(
    behaviour: dict[str, Any],
    goeasy: Sandbox,
    conversation: Conversation,
    timestamps: list[int],
    moderator: Any,
    reason: Any,
) -> None:
    goeasy.behaviour = Behaviour.parse(behaviour)
    backfill()
    made = recall(conversation, moderator, reason, timestamps[20:25])
    assert look(made) == ["still visible"]
    assert decisions.retry_size(Recall.objects.filter(pk=made.pk))


def test_a_page_of_recalled_messages_only_proves_nothing(
    goeasy: Sandbox, conversation: Conversation, timestamps: list[int], moderator: Any, reason: Any
) -> None:
    """A page of which every message was recalled looks like the end of history."""
    goeasy.behaviour = Behaviour(history_filters_after_limit=True, page_cap=10)
    backfill()
    made = recall(conversation, moderator, reason, timestamps[RECALLED])
    assert set(look(made)) <= {"gone", "unknowable"}


def test_unreadable_history_is_reported_and_proves_nothing(
    goeasy: Sandbox, conversation: Conversation, timestamps: list[int], moderator: Any, reason: Any
) -> None:
    goeasy.behaviour = Behaviour(abbreviated=True)
    page = open_page(conversation, moderator)
    assert "could not be read" in page
    assert "No message is known here" not in page
    assert Message.objects.count() == 0
    made = recall(conversation, moderator, reason, timestamps[20:25])
    assert {batch.state for batch in made.batches.all()} == {"accepted"}
    assert set(look(made)) <= {"", "unknowable"}


def test_a_late_recall_mark_is_awaited_as_long_as_the_application_says(
    goeasy: Sandbox, conversation: Conversation, timestamps: list[int], moderator: Any, reason: Any
) -> None:
    goeasy.behaviour = Behaviour(mark_delay=0.5)
    backfill()
    application = conversation.application
    application.verify_after_seconds = 1
    application.save()
    recall(conversation, moderator, reason, timestamps[20:25])
    assert verify.check_due() == verify.Checked()
    time.sleep(1)
    assert verify.check_due() == verify.Checked(calls=1, gone=5)
