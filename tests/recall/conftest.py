"""Recalls in any state without sending them, and recalls that are sent to the sandbox."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from moderation.archive.models import Conversation
from moderation.goeasy.client import Recaller
from moderation.outbox.models import Attempt, Call
from moderation.outbox.sender import send_due
from recall import services
from recall.models import Recall
from tests.outbox.calls import set_state

FIRST = 1_700_000_000_000
PAIR = {"kind": "private", "user_a": "user-a", "user_b": "user-b"}
OK = {"http_status": 200, "response_code": 200, "response_content": "OK", "latency_ms": 83}
UNAUTHORIZED = {"http_status": 401, "response_code": 401, "response_content": "Unauthorized", "latency_ms": 41}
SILENCE = {"problem": "read_timeout", "latency_ms": 20_001}
ANSWERS: dict[str, dict[str, Any]] = {"accepted": OK, "refused": UNAUTHORIZED, "unknown": SILENCE}


@pytest.fixture
def make_recall(private: Any, moderator: Any, reason: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recall]:
    """A function that requests a recall and sets the outcome of each call from `outcomes`."""
    # No look-up in history: nothing answers at the application's address.
    monkeypatch.setattr(services, "look_up", lambda *args, **kwargs: None)

    def make(
        timestamps: list[int], *outcomes: str, state: str = "", stop_reason: str = "", grace: float = 0, **fields: Any
    ) -> Recall:
        recall = services.request_recall(
            **{
                "conversation": private,
                "actor": moderator,
                "reason": reason,
                "note": "",
                "timestamps": timestamps,
                "recaller": Recaller("support", {"name": "客服"}),
                "submission": uuid.uuid4(),
                "grace_seconds": grace,
                **fields,
            }
        )
        if state:
            Recall.objects.filter(pk=recall.pk).update(state=state, stop_reason=stop_reason)
            set_state(recall.batches.all(), "pending")
        for batch, outcome in zip(recall.batches.order_by("index"), outcomes, strict=False):
            set_state(recall.batches.filter(pk=batch.pk), outcome)
            if outcome in ANSWERS:
                now = timezone.now()
                Attempt.objects.create(
                    call_id=batch.pk, number=1, outcome=outcome, started_at=now, ended_at=now, **ANSWERS[outcome]
                )
                Call.objects.filter(pk=batch.pk).update(attempt_count=1)
        recall.refresh_from_db()
        return recall

    return make


@pytest.fixture
def messages(sandbox: Any) -> Callable[..., list[int]]:
    """A function that puts messages into GoEasy, a second apart, and returns their timestamps."""

    def put(count: int, first: int = FIRST) -> list[int]:
        timestamps = [first + 1000 * number for number in range(count)]
        sandbox.add_messages(
            PAIR,
            [
                {"timestamp": at, "senderId": "user-a", "type": "text", "payload": {"text": str(at)}}
                for at in timestamps
            ],
        )
        return timestamps

    return put


@pytest.fixture
def send(connected: Any, private: Conversation, moderator: Any, reason: Any, sandbox: Any) -> Callable[..., Recall]:
    """A function that recalls timestamps of the private conversation while GoEasy has the fault named."""

    def recall_them(timestamps: list[int], fault: dict[str, Any] | None = None, **fields: Any) -> Recall:
        recall = services.request_recall(
            **{
                "conversation": private,
                "actor": moderator,
                "reason": reason,
                "note": "",
                "timestamps": timestamps,
                "recaller": None,
                "submission": uuid.uuid4(),
                "grace_seconds": 0,
                **fields,
            }
        )
        sandbox.set_faults([fault] if fault else [])
        send_due(recall.application)
        sandbox.clear_faults()
        recall.refresh_from_db()
        return recall

    return recall_them


@pytest.fixture
def request_recall(connected: Any, private: Conversation, moderator: Any, reason: Any) -> Callable[..., Recall]:
    """A function that requests a recall of the private conversation without grace."""

    def request(count: int = 1, **fields: Any) -> Recall:
        return services.request_recall(
            **{
                "conversation": private,
                "actor": moderator,
                "reason": reason,
                "note": "a note",
                "timestamps": [FIRST + number for number in range(count)],
                "recaller": Recaller("support", {"name": "Support"}),
                "submission": uuid.uuid4(),
                "grace_seconds": 0,
                **fields,
            }
        )

    return request
