"""What an app provides so that its calls leave through the outbox, and where it registers that (`apps.py`, `ready()`).

An effect owns the things that calls are for, its subjects: of a recall's call, its batch. The outbox writes calls and
attempts and asks the effect, in the same transaction, to write what that means for the subjects and to return the
audit events that tell of it.
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
    """What became of an attempt.

    `state` is what its call has come to; None when the answer came so late that the call is not what it was. `wait`:
    seconds until it is sent again by itself. `problem`: LOST or RESTORED where nobody recorded an outcome, and then
    `lost_by` is the worker that should have.
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
        """The HTTP status that came; an answer that broke off may have told its own."""
        return self.answer.http_status if self.answer else getattr(self.error, "http_status", None)

    @property
    def latency_ms(self) -> int | None:
        """How long the call took (ms)."""
        return self.answer.latency_ms if self.answer else self.error.latency_ms if self.error else None


class Effect(ABC):
    """One kind of call: what it is for, and what its outcomes mean.

    A call is prepared once, by a function of `goeasy.prepared`, and kept as `Call` in the transaction of the decision
    that it comes from: `Call.objects.bulk_create`, then `tasks.wake`.
    """

    name: ClassVar[str]
    # Whether a call of which nobody knows what became of it is sent again by itself. Only where twice does no harm.
    repeats_unknown: ClassVar[bool] = False

    # In the transaction that commits the attempts.

    @abstractmethod
    def subjects(self, calls: Sequence[Call]) -> Mapping[int, Any]:
        """What each of `calls` is for, by the call's key. Kept with the claim, so that an outcome needs no look-up."""

    @abstractmethod
    def intents(self, claims: Sequence[Claim], requests: Sequence[dict[str, Any]]) -> list[Event]:
        """Write that the subjects are being sent; return the audit events, each with its request (key masked)."""

    # In the transaction that commits the outcomes.

    @abstractmethod
    def outcomes(self, results: Sequence[Result]) -> list[Event]:
        """Write what `results` mean for their subjects; return the audit events that tell of them."""

    def conclude(self, subjects: Sequence[Any]) -> None:  # noqa: B027 - it may have no end of its own
        """Finish those of `subjects` of which nothing is left to send. Called when all of the outcomes is written."""

    def standing(self, claim: Claim) -> str:
        """What becomes of a call that could be sent again by itself: WAITING, HELD or CANCELLED.

        Called before anything is written: the place to lock the subject.
        """
        return Call.State.WAITING

    def stop(self, subject: Any, reason: StopReason) -> None:  # noqa: B027 - it may have no other calls
        """Send nothing more of a subject until a person has acted. The call that ended so is held already."""

    def stop_all(self, application: Application, reason: StopReason) -> None:
        """Send nothing more of all subjects that are being sent in the application until a person has acted."""
        Call.objects.filter(application=application, effect=self.name, not_before__lte=timezone.now()).hold()

    # While a sender looks for work.

    def advance(self, application: Application) -> None:  # noqa: B027 - as above
        """Let subjects begin whose time has come. Called often."""

    def complete(self, application: Application) -> None:  # noqa: B027 - as above
        """Finish subjects of which nothing is left to send: a worker may have died before it did."""

    def probe_target(self, subject: Any) -> Target | None:
        """A conversation of which history may be read to see whether GoEasy is well; None: the call itself tries."""
        return None

    def perform(self, client: Client, call: Call) -> Answer:
        """Send the call. Raises GoEasyError."""
        return client.perform(call.prepared)

    # After a backup was put back.

    @abstractmethod
    def restored(self, calls: Sequence[Call], lost: Sequence[Result]) -> dict[str, int]:
        """Write that nobody knows of `calls` whether they left since the backup was made, and record it.

        They are UNKNOWN now, or wait if they may be repeated. `lost`: what was being sent when the backup was made.
        Returns counts to show.
        """


_effects: dict[str, Effect] = {}


def register(effect: Effect) -> None:
    """Let calls of this effect leave. Raises ValueError when another one has its name."""
    if type(_effects.setdefault(effect.name, effect)) is not type(effect):
        raise ValueError(f"There are two effects called “{effect.name}”.")


def unregister(effect: Effect) -> None:
    """Forget an effect (tests)."""
    _effects.pop(effect.name, None)


def effect_of(name: str) -> Effect:
    """The effect of this name (`Call.effect`)."""
    return _effects[name]


def every_effect() -> Iterator[Effect]:
    """All effects."""
    yield from list(_effects.values())


def known_calls() -> CallQuerySet:
    """The calls of registered effects: nobody knows what others are for, so that they stay where they are."""
    return Call.objects.filter(effect__in=[effect.name for effect in every_effect()])


def stop_everything(application: Application, reason: StopReason) -> None:
    """Send nothing more of what is being sent in the application, whatever it is for."""
    for effect in every_effect():
        effect.stop_all(application, reason)
