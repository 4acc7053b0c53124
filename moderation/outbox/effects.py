"""Interface of an app whose calls leave through the outbox; it registers its effect in `apps.py`, `ready()`.

An effect owns the subjects of calls: for a recall's call, its batch. The outbox writes calls and attempts; in the same
transaction the effect updates the subjects and returns the audit events.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from django.utils import timezone

from moderation.applications.models import Application
from moderation.audit.events import Event
from moderation.goeasy.client import Answer, Client, Target
from moderation.goeasy.errors import GoEasyError
from moderation.outbox.models import Attempt, Call, CallQuerySet


class StopReason(StrEnum):
    """Why the outbox sends nothing more until a person has acted."""

    KEY_REFUSED = "key_refused"
    UNREACHABLE = "unreachable"
    NOT_CONFIGURED = "not_configured"
    KEY_UNREADABLE = "key_unreadable"
    NOT_ALLOWED = "not_allowed"
    INVALID = "invalid"


@dataclass(frozen=True)
class Claim:
    """A call that may be sent not before `at`, its intent committed. `subject`: as `Effect.subjects()` gave it."""

    call: Call
    attempt: Attempt
    subject: Any
    at: datetime


@dataclass(frozen=True)
class Result:
    """Outcome of an attempt.

    `state` is the new state of its call; None when the answer came too late to change it. `wait`: seconds until the
    call is retried. `problem`: LOST or RESTORED when no worker recorded an outcome; `lost_by` is the worker that
    should have.
    """

    claim: Claim
    outcome: str
    state: str | None
    answer: Answer | None = None
    error: GoEasyError | None = None
    wait: float | None = None
    is_late: bool = False
    problem: str = ""
    lost_by: str = ""

    @property
    def http_status(self) -> int | None:
        """The HTTP status; an answer that broke off may have one, too."""
        return self.answer.http_status if self.answer else getattr(self.error, "http_status", None)

    @property
    def latency_ms(self) -> int | None:
        """Duration of the call (ms)."""
        return self.answer.latency_ms if self.answer else self.error.latency_ms if self.error else None


class Effect(ABC):
    """One kind of call: what it is for, and what its outcomes mean.

    A call is prepared once, by a function of `goeasy.prepared`, and kept as `Call` in the transaction of the decision
    that it comes from: `Call.objects.bulk_create`, then `tasks.wake`.
    """

    name: ClassVar[str]
    # Whether a call with an unknown outcome is retried automatically. Only for calls that may safely be repeated.
    repeats_unknown: ClassVar[bool] = False

    # In the transaction that commits the attempts.

    @abstractmethod
    def subjects(self, calls: Sequence[Call]) -> Mapping[int, Any]:
        """The subject of each of `calls`, by the call's key. Kept with the claim, so that an outcome needs no query."""

    @abstractmethod
    def intents(self, claims: Sequence[Claim], requests: Sequence[dict[str, Any]]) -> list[Event]:
        """Mark the subjects as being sent; return the audit events, each with its request (key masked)."""

    # In the transaction that commits the outcomes.

    @abstractmethod
    def outcomes(self, results: Sequence[Result]) -> list[Event]:
        """Update the subjects of `results`; return the audit events."""

    def conclude(self, subjects: Sequence[Any]) -> None:  # noqa: B027 - it may have no end of its own
        """Finish those of `subjects` that have nothing left to send. Called after all outcomes are written."""

    def standing(self, claim: Claim) -> str:
        """State of a call that could be retried: WAITING, HELD or CANCELLED.

        Called before anything is written, so this is the place to lock the subject.
        """
        return Call.State.WAITING

    def stop(self, subject: Any, reason: StopReason) -> None:  # noqa: B027 - it may have no other calls
        """Send nothing more of a subject until a person has acted. The failed call is held already."""

    def stop_all(self, application: Application, reason: StopReason) -> None:
        """Send nothing more of all subjects that are being sent in the application until a person has acted."""
        Call.objects.filter(application=application, effect=self.name, not_before__lte=timezone.now()).hold()

    # While a sender looks for work.

    def advance(self, application: Application) -> None:  # noqa: B027 - as above
        """Let due subjects begin. Called often."""

    def complete(self, application: Application) -> None:  # noqa: B027 - as above
        """Finish subjects that have nothing left to send: a worker may have died before it did."""

    def probe_target(self, subject: Any) -> Target | None:
        """A conversation whose history may be read as a probe; None: the call itself is the probe."""
        return None

    def perform(self, client: Client, call: Call) -> Answer:
        """Send the call. Raises GoEasyError."""
        return client.perform(call.prepared)

    # After a backup was put back.

    @abstractmethod
    def restored(self, calls: Sequence[Call], lost: Sequence[Result]) -> dict[str, int]:
        """Update the subjects of `calls`, which may have left since the backup was made, and record it.

        The calls are UNKNOWN now, or WAITING if they may be repeated. `lost`: the attempts that were open when the
        backup was made. Return counts to show.
        """


_effects: dict[str, Effect] = {}


def register(effect: Effect) -> None:
    """Register an effect, so that its calls leave. Raises ValueError when another one has its name."""
    if type(_effects.setdefault(effect.name, effect)) is not type(effect):
        raise ValueError(f"There are two effects called “{effect.name}”.")


def unregister(effect: Effect) -> None:
    """Unregister an effect (for tests)."""
    _effects.pop(effect.name, None)


def effect_of(name: str) -> Effect:
    """The effect of this name (`Call.effect`)."""
    return _effects[name]


def every_effect() -> Iterator[Effect]:
    """All effects."""
    yield from list(_effects.values())


def known_calls() -> CallQuerySet:
    """The calls of registered effects; others stay where they are."""
    return Call.objects.filter(effect__in=[effect.name for effect in every_effect()])


def stop_everything(application: Application, reason: StopReason) -> None:
    """Stop all subjects of all effects that are being sent in the application."""
    for effect in every_effect():
        effect.stop_all(application, reason)
