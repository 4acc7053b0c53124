"""An effect of the tests' own whose calls may be repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moderation.audit.models import Action, AuditEntry
from moderation.outbox.effects import Claim, Effect, Result
from moderation.outbox.models import Call
from tests.audit.entries import entry


class Ping(Effect):
    """Calls that may be repeated."""

    name = "ping"
    repeats_unknown = True

    def __init__(self) -> None:
        # What was written for each call, in order, as rows of an app would have it.
        self.written: list[tuple[int, str | None]] = []
        self.unknown_since_restore: list[int] = []

    def subjects(self, calls: Sequence[Call]) -> Mapping[int, str]:
        return {call.pk: f"subject {call.position}" for call in calls}

    def intents(self, claims: Sequence[Claim], requests: Sequence[dict[str, Any]]) -> list[AuditEntry]:
        return [
            entry(actor=claim.subject, action=Action.SENDING, attempt=claim.attempt.number, request=request)
            for claim, request in zip(claims, requests, strict=True)
        ]

    def outcomes(self, results: Sequence[Result]) -> list[AuditEntry]:
        self.written += [(result.claim.call.position, result.state) for result in results]
        return [
            entry(
                actor=result.claim.subject,
                action=Action.ANSWERED,
                attempt=result.claim.attempt.number,
                detail={"outcome": result.outcome, "again": result.wait is not None, "problem": result.problem},
            )
            for result in results
        ]

    def restored(self, calls: Sequence[Call], lost: Sequence[Result]) -> dict[str, int]:
        self.unknown_since_restore = [result.claim.call.position for result in lost]
        return {"pings": len(calls)}
